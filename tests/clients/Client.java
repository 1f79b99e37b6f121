// java.net.http as check.py wants it: the status, and below it the body. Run as one file, without a build.

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
                        .POST(HttpRequest.BodyPublishers.ofString(arguments[2]))
                        .build();
        var answer = client.send(request, BodyHandlers.ofString());
        System.out.print(answer.statusCode() + "\n" + answer.body());
    }
}
