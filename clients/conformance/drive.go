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

// folder is a store: a file a key, with the address, the time and the body.
type folder struct{ path, body string }

func (f folder) Save(r *http.Request) (time.Time, error) {
	file := filepath.Join(f.path, r.Header.Get("Idempotency-Key"))
	saved, err := os.ReadFile(file)
	if err != nil {
		began := time.Now()
		text := fmt.Sprintf("%s\n%d\n%s", r.URL, began.Unix(), f.body)
		return began, os.WriteFile(file, []byte(text), 0o600)
	}
	began, err := strconv.ParseInt(strings.Split(string(saved), "\n")[1], 10, 64)
	return time.Unix(began, 0), err
}

func (f folder) Remove(r *http.Request) error {
	return os.Remove(filepath.Join(f.path, r.Header.Get("Idempotency-Key")))
}

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
			kept := strings.SplitN(string(saved), "\n", 3)
			url, body = kept[0], kept[2]
		}
		transport := mainstaywrite.New()
		transport.Patience, transport.Attempt = seconds(part[2]), seconds(part[3])
		transport.Store = folder{store, body}
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
	if errors.As(err, &unknown) && unknown.TooOld {
		return "unknown\ttoo old: " + unknown.Operation
	}
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
