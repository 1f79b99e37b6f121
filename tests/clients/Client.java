// java.net.http as check.py wants it: the status, and below it the body. Without a body it reads. Run as one
// file, without a build.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

class Client {
    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newBuilder().followRedirects(HttpClient.Redirect.NORMAL).build();
        var request =
                HttpRequest.newBuilder(URI.create(arguments[0]))
                        .header("Idempotency-Key", arguments[1])
                        .header("Content-Type", "application/json")
                        .method(arguments[2].isEmpty() ? "GET" : "POST", content(arguments[2]))
                        .build();
        var answer = client.send(request, BodyHandlers.ofString());
        System.out.print(answer.statusCode() + "\n" + answer.body());
    }

    private static HttpRequest.BodyPublisher content(String text) {
        return text.isEmpty() ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofString(text);
    }
}
