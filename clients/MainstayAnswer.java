import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.*;
import java.time.format.DateTimeFormatter;
import java.util.regex.Pattern;

/** What an answer says of a write, for MainstayWrite.java. */
final class MainstayAnswer {
    enum Fact { DONE, DECLINED, NOTHING, REFUSED, DOUBT, UNPROTECTED }

    static final String RULES = "/_mainstay/idempotency", OPERATIONS = "/_mainstay/operations"; // below control.path
    private static final Pattern ROUTE = Pattern.compile("\\{(?:[^{}]|\\{(?:[^{}]|\\{[^{}]*\\})*\\})*\\}"); // an object, two more within
    private static final Pattern PATH = Pattern.compile("\"path\":\"([^\"]*)\""), METHODS = Pattern.compile("\"methods\":\\[([^\\]]*)\\]");

    private MainstayAnswer() {}

    /** What an answer says of the write: first in Mainstay's own word, and only without one by its status. */
    static Fact fact(HttpResponse<byte[]> answer) {
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

    /** Where Mainstay is asked about the path of a write: RULES for its method (an older one lists all of its routes), OPERATIONS for its key. */
    static URI about(URI uri, String place, String name, String value) {
        var path = uri.getRawPath().isEmpty() ? "/" : uri.getRawPath();
        return uri.resolve(place + "?" + name + "=" + URLEncoder.encode(value, StandardCharsets.UTF_8) + "&path=" + URLEncoder.encode(path, StandardCharsets.UTF_8));
    }

    /** What the answer of RULES says of a request; null if nobody could be asked now. */
    static Boolean keepsKeys(HttpResponse<byte[]> rules, String method, URI uri) {
        if (rules == null || rules.statusCode() == 429 || rules.statusCode() >= 500) return null;
        var text = new String(rules.body(), StandardCharsets.UTF_8);
        var routes = ROUTE.matcher(text.substring(text.indexOf('[') + 1));
        while (rules.statusCode() == 200 && routes.find()) {
            var route = routes.group();
            var path = PATH.matcher(route);
            var methods = METHODS.matcher(route);
            var isOurs = path.find() && methods.find() && methods.group(1).contains("\"" + method + "\"");
            if (isOurs && fits(path.group(1), uri.getRawPath()) && route.toLowerCase().contains("\"header\":\"idempotency-key\"")) return true;
        }
        return false;
    }

    private static boolean fits(String pattern, String path) {
        var hasRest = pattern.endsWith("/**");
        var want = (hasRest ? pattern.substring(0, pattern.length() - 3) : pattern).split("/", -1);
        var have = path.split("/", -1);
        if (hasRest ? have.length < want.length : have.length != want.length) return false;
        for (int at = 0; at < want.length; at++) {
            if (!want[at].equals(have[at]) && (!want[at].startsWith("{") || have[at].isEmpty())) return false;
        }
        return true;
    }

    /** The service's own answer, too large to be kept: it comes once. */
    static boolean isAllThereIs(HttpResponse<byte[]> answer) {
        return header(answer, "mainstay-outcome").equals("in-progress") && answer.statusCode() < 300;
    }

    static boolean says(HttpResponse<byte[]> answer, String member, String value) {
        return answer != null && new String(answer.body(), StandardCharsets.UTF_8).contains("\"" + member + "\":\"" + value + "\"");
    }

    static String header(HttpResponse<byte[]> answer, String name) {
        return answer == null ? "" : answer.headers().firstValue(name).orElse("");
    }

    static Duration retryAfter(String said, double otherwiseMillis) {
        if (said.matches("\\d{1,9}")) return Duration.ofSeconds(Long.parseLong(said));
        try {
            return Duration.between(Instant.now(), ZonedDateTime.parse(said, DateTimeFormatter.RFC_1123_DATE_TIME));
        } catch (DateTimeException none) {
            return Duration.ofMillis((long) otherwiseMillis);
        }
    }
}
