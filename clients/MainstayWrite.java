import java.io.IOException;
import java.net.URI;
import java.net.http.*;
import java.time.*;
import java.time.format.DateTimeFormatter;
import java.util.*;

/**
 * A write that happens once, through Mainstay. One file of the standard library, to be copied. {@code new MainstayWrite().write(
 * new Write("POST", uri, headers, bytes), null)} gives Done, Failed (if declined, a new attempt needs a new key) or Unknown (it may
 * have happened: never use a new key for it). It keeps key and bytes, follows no redirect, reads Mainstay-Outcome before the status,
 * obeys Retry-After, and asks the operation where repeats are refused.
 */
public final class MainstayWrite {
    public record Write(String method, URI uri, Map<String, String> headers, byte[] body) {}
    public sealed interface Outcome permits Done, Failed, Unknown {}
    public record Done(HttpResponse<byte[]> answer) implements Outcome {}
    public record Failed(HttpResponse<byte[]> answer, boolean declined) implements Outcome {}
    public record Unknown(URI operation, String key) implements Outcome {}
    public interface Store {
        void save(String key, Write write) throws IOException; // on disk, before it is sent: at a restart write it again under its key
        void remove(String key) throws IOException;
    }

    private enum Fact { DONE, DECLINED, NOTHING, REFUSED, DOUBT, UNPROTECTED }
    private record Told(Fact fact, HttpResponse<byte[]> answer) {}
    private final HttpClient http = HttpClient.newBuilder().followRedirects(HttpClient.Redirect.NEVER).build();
    public Duration patience = Duration.ofSeconds(60), attempt = Duration.ofSeconds(15);
    public Store store;

    /** With null as key a new one is made. One that you pass may have been used: what is only refused under it ends as Unknown. */
    public Outcome write(Write write, String given) throws IOException, InterruptedException {
        var key = given == null ? UUID.randomUUID().toString() : given;
        if (store != null) store.save(key, write);
        var outcome = settle(write, key, given != null, Instant.now().plus(patience));
        if (store != null && !(outcome instanceof Unknown)) store.remove(key);
        return outcome;
    }

    private Outcome settle(Write write, String key, boolean inDoubt, Instant until) throws InterruptedException {
        URI operation = null;
        var headers = new HashMap<>(Map.of("Idempotency-Key", key));
        for (double pause = 200; ; pause = Math.min(5000, pause * 2)) {
            var answer = send(write.method(), write.uri(), write, headers, Duration.between(Instant.now(), until));
            var told = new Told(fact(answer), answer);
            var place = write.uri().resolve(header(answer, "operation-location"));
            var isOurs = place.resolve("/").equals(write.uri().resolve("/")); // credentials go to no other origin
            if (isOurs && !header(answer, "operation-location").isEmpty()) operation = place;
            if (told.fact == Fact.REFUSED && inDoubt && operation != null) told = ask(operation, write, answer);
            if (told.fact == Fact.DONE) return new Done(told.answer);
            if (told.fact == Fact.DECLINED) return new Failed(told.answer, true);
            inDoubt = told.fact == Fact.DOUBT || told.fact == Fact.UNPROTECTED || inDoubt && told.fact != Fact.NOTHING;
            var named = header(answer, "retry-after");
            var wait = retryAfter(named, pause * (0.8 + 0.4 * Math.random()));
            var passes = !named.isEmpty() || answer != null && (answer.statusCode() >= 500 || Set.of(408, 425, 429).contains(answer.statusCode()));
            var worth = told.fact == Fact.DOUBT || told.fact != Fact.UNPROTECTED && passes;
            var isOver = !worth || Instant.now().plus(wait).isAfter(until);
            if (isOver) return inDoubt ? new Unknown(operation, key) : new Failed(told.answer, false);
            Thread.sleep(Math.max(0, wait.toMillis()));
            headers.put("Prefer", "wait=" + Math.min(Duration.between(Instant.now(), until).toSeconds(), attempt.toSeconds() / 2));
        }
    }

    /** What an answer says of the write: first in Mainstay's own word, and only without one by its status. */
    private static Fact fact(HttpResponse<byte[]> answer) {
        var status = answer == null ? 0 : answer.statusCode();
        return switch (header(answer, "mainstay-outcome")) {
            case "succeeded" -> Fact.DONE;
            case "failed" -> Fact.DECLINED;
            case "not_executed" -> Fact.NOTHING;
            case "none" -> Fact.REFUSED;
            case "" -> !header(answer, "mainstay-error").isEmpty() // no key protects here: it must not be sent again
                ? says(answer, "effect", "none") ? Fact.REFUSED : Fact.UNPROTECTED
                : status >= 200 && status < 300 ? Fact.DONE : status >= 400 && status < 500 && status != 408 ? Fact.REFUSED : Fact.DOUBT;
            default -> Fact.DOUBT;
        };
    }

    private Told ask(URI operation, Write write, HttpResponse<byte[]> refusal) throws InterruptedException {
        var document = send("GET", operation, write, Map.of(), attempt);
        if (says(document, "effect", "happened")) {
            var result = send("GET", URI.create(operation + "/result"), write, Map.of(), attempt);
            return new Told(Fact.DONE, fact(result) == Fact.DONE ? result : document);
        }
        if (!says(document, "effect", "none")) return new Told(Fact.REFUSED, refusal); // also if what was settled is contradicted
        if (says(document, "state", "failed")) return new Told(Fact.DECLINED, document);
        return new Told(says(document, "state", "not_executed") ? Fact.NOTHING : Fact.REFUSED, refusal);
    }

    private HttpResponse<byte[]> send(String method, URI uri, Write write, Map<String, String> headers, Duration left) throws InterruptedException {
        var body = method.equals("GET") ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofByteArray(write.body());
        var timeout = left.compareTo(attempt) > 0 ? attempt : left.compareTo(Duration.ofMillis(100)) > 0 ? left : Duration.ofMillis(100);
        var request = HttpRequest.newBuilder(uri).method(method, body).timeout(timeout);
        write.headers().forEach(request::setHeader);
        headers.forEach(request::setHeader);
        try {
            return http.send(request.build(), HttpResponse.BodyHandlers.ofByteArray());
        } catch (IOException noAnswer) {
            return null;
        }
    }

    private static boolean says(HttpResponse<byte[]> answer, String member, String value) {
        return answer != null && new String(answer.body(), java.nio.charset.StandardCharsets.UTF_8).contains("\"" + member + "\":\"" + value + "\"");
    }

    private static String header(HttpResponse<byte[]> answer, String name) {
        return answer == null ? "" : answer.headers().firstValue(name).orElse("");
    }

    private static Duration retryAfter(String said, double otherwiseMillis) {
        if (said.matches("\\d{1,9}")) return Duration.ofSeconds(Long.parseLong(said));
        try {
            return Duration.between(Instant.now(), ZonedDateTime.parse(said, DateTimeFormatter.RFC_1123_DATE_TIME));
        } catch (DateTimeException none) {
            return Duration.ofMillis((long) otherwiseMillis);
        }
    }
}
