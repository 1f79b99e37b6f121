import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.time.Instant;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.regex.Pattern;

/**
 * A write that happens once, through Mainstay. One file of the standard library, to be copied.
 *
 * <p>{@code new MainstayWrite().write(new Write("POST", uri, Map.of("Content-Type", "application/json"), bytes))} gives Done,
 * Failed (if declined, a new attempt needs a new key) or Unknown (it may have happened: never use a new key for it). It keeps
 * key and bytes, follows no redirect, reads Mainstay-Outcome before the status, obeys Retry-After, and asks the operation
 * where repeats are refused. A Store holds what is open: at a restart write each again under its key.
 */
public final class MainstayWrite {
    public record Write(String method, URI uri, Map<String, String> headers, byte[] body) {}

    public sealed interface Outcome permits Done, Failed, Unknown {}
    public record Done(HttpResponse<byte[]> answer) implements Outcome {}
    public record Failed(HttpResponse<byte[]> answer, boolean declined) implements Outcome {}
    public record Unknown(URI operation, String key) implements Outcome {}

    public interface Store {
        void save(String key, Write write) throws IOException; // on disk, before it is sent
        void remove(String key) throws IOException;
    }

    private enum Fact { DONE, DECLINED, NOTHING, REFUSED, DOUBT, UNPROTECTED }
    private record Told(Fact fact, HttpResponse<byte[]> answer) {}

    private final HttpClient http = HttpClient.newBuilder().followRedirects(HttpClient.Redirect.NEVER).build();
    public Duration patience = Duration.ofSeconds(60);
    public Duration attempt = Duration.ofSeconds(15);
    public Store store;

    public Outcome write(Write write) throws IOException, InterruptedException {
        return write(write, UUID.randomUUID().toString(), false);
    }

    /** Under a key that may have been used before: what is only ever refused under it ends as Unknown. */
    public Outcome write(Write write, String key) throws IOException, InterruptedException {
        return write(write, key, true);
    }

    private Outcome write(Write write, String key, boolean inDoubt) throws IOException, InterruptedException {
        if (store != null) store.save(key, write);
        var outcome = settle(write, key, inDoubt, Instant.now().plus(patience));
        if (store != null && !(outcome instanceof Unknown)) store.remove(key);
        return outcome;
    }

    private Outcome settle(Write write, String key, boolean inDoubt, Instant until) throws InterruptedException {
        URI operation = null;
        String prefer = null;
        for (double pause = 200; ; pause = Math.min(5000, pause * 2)) {
            var answer = send(write.method(), write.uri(), write, key, prefer, Duration.between(Instant.now(), until));
            var told = new Told(fact(answer), answer);
            var place = location(write.uri(), answer);
            if (place != null) operation = place;
            if (told.fact == Fact.REFUSED && inDoubt && operation != null) told = ask(operation, write, answer);
            if (told.fact == Fact.DONE) return new Done(told.answer);
            if (told.fact == Fact.DECLINED) return new Failed(told.answer, true);
            inDoubt = told.fact == Fact.DOUBT || told.fact == Fact.UNPROTECTED || inDoubt && told.fact != Fact.NOTHING;
            var named = retryAfter(answer);
            var wait = named != null ? named : Duration.ofMillis((long) (pause * (0.8 + 0.4 * Math.random())));
            var passes = answer != null && (List.of(408, 425, 429).contains(answer.statusCode()) || answer.statusCode() >= 500);
            var worth = told.fact == Fact.DOUBT || told.fact != Fact.UNPROTECTED && (passes || named != null);
            if (!worth || Instant.now().plus(wait).isAfter(until)) {
                return inDoubt ? new Unknown(operation, key) : new Failed(told.answer, false);
            }
            Thread.sleep(wait.toMillis());
            prefer = "wait=" + Math.max(0, Math.min(Duration.between(Instant.now(), until).toSeconds(), attempt.toSeconds() / 2));
        }
    }

    /** What an answer says of the write: first in Mainstay's own word, and only without one by its status. */
    private static Fact fact(HttpResponse<byte[]> answer) {
        if (answer == null) return Fact.DOUBT;
        var status = answer.statusCode();
        var outcome = header(answer, "mainstay-outcome");
        if (!outcome.isEmpty()) {
            return switch (outcome) {
                case "succeeded" -> Fact.DONE;
                case "failed" -> Fact.DECLINED;
                case "not_executed" -> Fact.NOTHING;
                case "none" -> Fact.REFUSED;
                default -> Fact.DOUBT;
            };
        }
        // Mainstay, where no key protects: what may have happened must not be sent again.
        if (!header(answer, "mainstay-error").isEmpty()) return says(answer, "effect", "none") ? Fact.REFUSED : Fact.UNPROTECTED;
        if (status >= 200 && status < 300) return Fact.DONE;
        return status >= 400 && status < 500 && status != 408 ? Fact.REFUSED : Fact.DOUBT;
    }

    /** The operation's document, where a repeat was refused. */
    private Told ask(URI operation, Write write, HttpResponse<byte[]> refusal) throws InterruptedException {
        var document = send("GET", operation, write, null, null, attempt);
        if (document == null || document.statusCode() != 200) return new Told(Fact.REFUSED, refusal);
        if (says(document, "effect", "happened")) {
            var result = send("GET", URI.create(operation + "/result"), write, null, null, attempt);
            return new Told(Fact.DONE, fact(result) == Fact.DONE ? result : document);
        }
        if (!says(document, "effect", "none")) return new Told(Fact.REFUSED, refusal);
        if (says(document, "state", "failed")) return new Told(Fact.DECLINED, document);
        return new Told(says(document, "state", "not_executed") ? Fact.NOTHING : Fact.REFUSED, refusal);
    }

    private HttpResponse<byte[]> send(String method, URI uri, Write write, String key, String prefer, Duration left)
            throws InterruptedException {
        var body = key == null ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofByteArray(write.body());
        var timeout = left.compareTo(attempt) > 0 ? attempt : left.compareTo(Duration.ofMillis(100)) > 0 ? left : Duration.ofMillis(100);
        var request = HttpRequest.newBuilder(uri).method(method, body).timeout(timeout);
        write.headers().forEach(request::header);
        if (key != null) request.header("Idempotency-Key", key);
        if (prefer != null) request.header("Prefer", prefer);
        try {
            return http.send(request.build(), HttpResponse.BodyHandlers.ofByteArray());
        } catch (IOException noAnswer) {
            return null;
        }
    }

    /** Whether a member of the JSON that Mainstay writes has this value. */
    private static boolean says(HttpResponse<byte[]> answer, String member, String value) {
        var text = new String(answer.body(), java.nio.charset.StandardCharsets.UTF_8);
        return Pattern.compile("[{,]\\s*\"" + member + "\"\\s*:\\s*\"" + value + "\"").matcher(text).find();
    }

    private static String header(HttpResponse<byte[]> answer, String name) {
        return answer.headers().firstValue(name).orElse("");
    }

    /** The operation's address; credentials go to the origin of the write and nowhere else. */
    private static URI location(URI from, HttpResponse<byte[]> answer) {
        var said = answer == null ? "" : header(answer, "operation-location");
        var place = said.isEmpty() ? null : from.resolve(said);
        return place != null && from.resolve("/").equals(place.resolve("/")) ? place : null;
    }

    private static Duration retryAfter(HttpResponse<byte[]> answer) {
        var said = answer == null ? "" : header(answer, "retry-after");
        if (said.matches("\\d{1,9}")) return Duration.ofSeconds(Long.parseLong(said));
        try {
            return Duration.between(Instant.now(), ZonedDateTime.parse(said, DateTimeFormatter.RFC_1123_DATE_TIME).toInstant());
        } catch (java.time.format.DateTimeParseException none) {
            return null;
        }
    }
}
