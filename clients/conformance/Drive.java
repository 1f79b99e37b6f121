import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;

/** The lines of drive.py, against the Java client. */
final class Drive {
    record Folder(Path path) implements MainstayWrite.Store {
        public Instant save(String key, MainstayWrite.Write write) throws IOException {
            var file = path.resolve(key);
            if (!Files.exists(file)) Files.writeString(file, write.uri() + "\n" + Instant.now().getEpochSecond() + "\n" + new String(write.body()));
            return Instant.ofEpochSecond(Long.parseLong(Files.readString(file).split("\n")[1]));
        }

        public void remove(String key) throws IOException {
            Files.delete(path.resolve(key));
        }
    }

    public static void main(String[] arguments) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = lines.readLine()) != null; ) {
            var part = line.split("\t");
            String url = part[0], key = part[1], body = part[5];
            var folder = Files.createDirectories(Path.of(part[4]));
            if (url.equals("resume")) {
                try (var files = Files.list(folder)) {
                    var file = files.findFirst().orElseThrow();
                    key = file.getFileName().toString();
                    var saved = Files.readString(file).split("\n", 3);
                    url = saved[0];
                    body = saved[2];
                }
            }
            var client = new MainstayWrite();
            client.patience = seconds(part[2]);
            client.attempt = seconds(part[3]);
            client.store = new Folder(folder);
            var headers = Map.of("Content-Type", "application/json");
            var write = new MainstayWrite.Write("POST", URI.create(url), headers, body.getBytes());
            System.out.println(told(client.write(write, key.equals("-") ? null : key)));
        }
    }

    private static String told(MainstayWrite.Outcome outcome) {
        if (outcome instanceof MainstayWrite.Done done) return "done\t" + new String(done.answer().body());
        if (outcome instanceof MainstayWrite.Failed failed) {
            return (failed.declined() ? "declined\t" : "nothing\t") + new String(failed.answer().body());
        }
        var unknown = (MainstayWrite.Unknown) outcome;
        return "unknown\t" + (unknown.tooOld() ? "too old: " : "") + (unknown.operation() == null ? "" : unknown.operation());
    }

    private static Duration seconds(String text) {
        return Duration.ofMillis((long) (Double.parseDouble(text) * 1000));
    }
}
