// Go's net/http, with its defaults, as check.py wants it: the status, and below it the body. Without a body it reads. Its
// transport repeats a request with an Idempotency-Key by itself when its connection breaks.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

func main() {
	url, key, body := os.Args[1], os.Args[2], os.Args[3]
	method := "POST"
	if body == "" {
		method = "GET"
	}
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	request.Header.Set("Idempotency-Key", key)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%d\n%s", answer.StatusCode, text)
}
