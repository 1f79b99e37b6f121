import java.io.IOException;
import java.net.URI;
import java.net.http.*;
import java.time.*;
import java.util.*;

/**
 * A write that happens once, through Mainstay. Two files (MainstayAnswer.java) of the standard library, to be copied. {@code new MainstayWrite().write(
 * new Write("POST", uri, headers, bytes), null)} gives Done, Failed (if declined, a new attempt needs a new key) or Unknown (it may
 * have happened: never use a new key for it). It keeps key and bytes, follows no redirect, reads Mainstay-Outcome before the status,
 * obeys Retry-After, asks the operation where repeats are refused, and repeats nothing where nothing shows that keys are kept.
 * Once Mainstay has forgotten a key, it is a new write: what the store says was begun a {@link #tombstone} ago or more (or nobody
 * knows when) is not sent, but Unknown and too old. Ask at its operation, or have a person look.
 */
public final class MainstayWrite {
    public record Write(String method, URI uri, Map<String, String> headers, byte[] body) {}
    public sealed interface Outcome permits Done, Failed, Unknown {}
    public record Done(HttpResponse<byte[]> answer) implements Outcome {}
    public record Failed(HttpResponse<byte[]> answer, boolean declined) implements Outcome {}
    public record Unknown(URI operation, String key, boolean tooOld) implements Outcome {}
    public interface Store {
        /** On disk with the time, before it is sent: at a restart write it again under its key. It answers when it was first saved: of a key that is there it keeps that. */
        Instant save(String key, Write write) throws IOException;
        void remove(String key) throws IOException;
    }

    private record Told(MainstayAnswer.Fact fact, HttpResponse<byte[]> answer) {}
    private final HttpClient http = HttpClient.newBuilder().followRedirects(HttpClient.Redirect.NEVER).build();
    public Duration patience = Duration.ofSeconds(60), attempt = Duration.ofSeconds(15);
    public Duration tombstone = Duration.ofDays(30); // the least tombstone_seconds of /_mainstay/idempotency
    public Store store;

    /** With null as key a new one is made. One that you pass may have been used: what is only refused under it ends as Unknown. */
    public Outcome write(Write write, String given) throws IOException, InterruptedException {
        var key = given == null ? UUID.randomUUID().toString() : given;
        var left = patience;
        if (store != null) {
            var began = Optional.ofNullable(store.save(key, write)).orElse(Instant.EPOCH);
            var known = tombstone.minus(Duration.between(began, Instant.now()));
            if (known.compareTo(Duration.ZERO) <= 0) return new Unknown(MainstayAnswer.about(write.uri(), MainstayAnswer.OPERATIONS, "key", key), key, true);
            left = known.compareTo(patience) < 0 ? known : patience;
        }
        var outcome = settle(write, key, given != null, Instant.now().plus(left));
        if (store != null && !(outcome instanceof Unknown)) store.remove(key);
        return outcome;
    }

    private Outcome settle(Write write, String key, boolean inDoubt, Instant until) throws InterruptedException {
        URI operation = null;
        HttpResponse<byte[]> first = null;
        Boolean isNewest = false, isKept = false;
        var headers = new HashMap<>(Map.of("Idempotency-Key", key));
        for (double pause = 200; ; pause = Math.min(5000, pause * 2)) {
            var left = Duration.between(Instant.now(), until);
            if (inDoubt && isKept != Boolean.TRUE) { // where no keys are kept, this would be a second write
                var rules = MainstayAnswer.about(write.uri(), MainstayAnswer.RULES, "method", write.method());
                isKept = MainstayAnswer.keepsKeys(send("GET", rules, write, Map.of(), left), write.method(), write.uri());
                if (isKept == Boolean.FALSE) return new Unknown(operation, key, false);
            }
            var canSend = !inDoubt || isKept == Boolean.TRUE;
            var answer = canSend ? send(write.method(), write.uri(), write, headers, left) : null;
            var told = new Told(MainstayAnswer.fact(answer), answer);
            if (!MainstayAnswer.header(answer, "mainstay-outcome").isEmpty()) isKept = true;
            var place = write.uri().resolve(MainstayAnswer.header(answer, "operation-location"));
            var isOurs = place.resolve("/").equals(write.uri().resolve("/")); // credentials go to no other origin
            var isNamed = isOurs && !MainstayAnswer.header(answer, "operation-location").isEmpty();
            // An attempt that names no address may have begun another operation: then the old one's "not executed" is not about it.
            isNewest = isNamed || isNewest && told.fact == MainstayAnswer.Fact.REFUSED;
            if (isNamed) operation = place;
            if (MainstayAnswer.isAllThereIs(answer)) first = answer;
            if (told.fact == MainstayAnswer.Fact.REFUSED && inDoubt && operation != null) told = ask(operation, write, answer, isNewest);
            if (told.fact == MainstayAnswer.Fact.DONE) return new Done(first != null && !MainstayAnswer.header(told.answer, "mainstay-error").isEmpty() ? first : told.answer);
            if (told.fact == MainstayAnswer.Fact.DECLINED) return new Failed(told.answer, true);
            inDoubt = told.fact == MainstayAnswer.Fact.DOUBT || told.fact == MainstayAnswer.Fact.UNPROTECTED || inDoubt && told.fact != MainstayAnswer.Fact.NOTHING;
            var named = MainstayAnswer.header(answer, "retry-after");
            var wait = MainstayAnswer.retryAfter(named, pause * (0.8 + 0.4 * Math.random()));
            var passes = !named.isEmpty() || answer != null && (answer.statusCode() >= 500 || Set.of(408, 425, 429).contains(answer.statusCode()));
            var worth = told.fact == MainstayAnswer.Fact.DOUBT || told.fact != MainstayAnswer.Fact.UNPROTECTED && passes;
            var isOver = !worth || Instant.now().plus(wait).isAfter(until);
            if (isOver) return inDoubt ? new Unknown(isNewest ? operation : null, key, false) : new Failed(told.answer, false);
            Thread.sleep(Math.max(0, wait.toMillis()));
            headers.put("Prefer", "wait=" + Math.min(Duration.between(Instant.now(), until).toSeconds(), attempt.toSeconds() / 2));
        }
    }

    private Told ask(URI operation, Write write, HttpResponse<byte[]> refusal, boolean isNewest) throws InterruptedException {
        var document = send("GET", operation, write, Map.of(), attempt);
        if (MainstayAnswer.says(document, "effect", "happened")) {
            var result = send("GET", URI.create(operation + "/result"), write, Map.of(), attempt);
            return new Told(MainstayAnswer.Fact.DONE, MainstayAnswer.fact(result) == MainstayAnswer.Fact.DONE ? result : document);
        }
        if (!MainstayAnswer.says(document, "effect", "none")) return new Told(MainstayAnswer.Fact.REFUSED, refusal); // also if what was settled is contradicted
        if (MainstayAnswer.says(document, "state", "failed")) return new Told(MainstayAnswer.Fact.DECLINED, document);
        return new Told(isNewest && MainstayAnswer.says(document, "state", "not_executed") ? MainstayAnswer.Fact.NOTHING : MainstayAnswer.Fact.REFUSED, refusal);
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
}
