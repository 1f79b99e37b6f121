// The lines of drive.py, against the Go client.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"conformance/mainstaywrite"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		part := strings.Split(lines.Text(), "\t")
		url, key, store, body := part[0], part[1], part[4], part[5]
		check(os.MkdirAll(store, 0o700))
		if url == "resume" {
			names, err := filepath.Glob(store + "/*")
			check(err)
			saved, err := os.ReadFile(names[0])
			check(err)
			key = filepath.Base(names[0])
			url, body, _ = strings.Cut(string(saved), "\n")
		}
		file := func(r *http.Request) string { return filepath.Join(store, r.Header.Get("Idempotency-Key")) }
		transport := mainstaywrite.New()
		transport.Patience, transport.Attempt = seconds(part[2]), seconds(part[3])
		transport.Store = func(r *http.Request, open bool) error {
			if open {
				return os.WriteFile(file(r), []byte(r.URL.String()+"\n"+body), 0o600)
			}
			return os.Remove(file(r))
		}
		client := &http.Client{Transport: transport, CheckRedirect: mainstaywrite.NoRedirects}
		request, err := http.NewRequest("POST", url, strings.NewReader(body))
		check(err)
		request.Header.Set("Content-Type", "application/json")
		if key != "-" {
			request.Header.Set("Idempotency-Key", key)
		}
		fmt.Println(told(client.Do(request)))
	}
}

// told is what an application makes of it.
func told(got *http.Response, err error) string {
	var unknown *mainstaywrite.UnknownError
	if errors.As(err, &unknown) {
		return "unknown\t" + unknown.Operation
	}
	check(err)
	body, err := io.ReadAll(got.Body)
	check(err)
	switch outcome := got.Header.Get("Mainstay-Outcome"); {
	case outcome == "failed":
		return "declined\t" + string(body)
	case outcome == "succeeded" || got.StatusCode < 300:
		return "done\t" + string(body)
	}
	return "nothing\t" + string(body)
}

func seconds(text string) time.Duration {
	number, err := strconv.ParseFloat(text, 64)
	check(err)
	return time.Duration(number * float64(time.Second))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
