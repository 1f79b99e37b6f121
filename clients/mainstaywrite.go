// Package mainstaywrite writes once, through Mainstay. One file of the standard library, to be copied.
//
//	client := &http.Client{Transport: mainstaywrite.New(), CheckRedirect: mainstaywrite.NoRedirects}
//
// A POST or PATCH gets an Idempotency-Key, unless it has one (which may have been used before), and is repeated, key and bytes
// the same, until its fate is known: the answer says "succeeded" or "failed" in Mainstay-Outcome, or is a refusal of what never
// happened; else *UnknownError. Mainstay-Outcome counts before the status, and Retry-After is obeyed.
package mainstaywrite

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"
)

// Transport is an http.RoundTripper. Leave the client's Timeout at 0, or above Patience: it counts for all repeats together.
type Transport struct {
	Base              http.RoundTripper
	Patience, Attempt time.Duration
	// Store keeps what is open, on disk before it is sent: method, URL, header and GetBody(), for after a restart.
	Store func(request *http.Request, open bool) error
}

// New is patient for a minute, and 15 s for one attempt.
func New() *Transport {
	return &Transport{http.DefaultTransport, time.Minute, 15 * time.Second, func(*http.Request, bool) error { return nil }}
}

// UnknownError says that the write may have happened: repeat it with the same key, or ask at Operation; never use a new key.
type UnknownError struct{ Operation, Key string }

func (e *UnknownError) Error() string {
	return "it is not known whether this write happened: " + e.Operation
}

// NoRedirects is for http.Client.CheckRedirect.
func NoRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// RoundTrip writes once; it needs GetBody, which http.NewRequest sets for bytes and strings.
func (t *Transport) RoundTrip(original *http.Request) (*http.Response, error) {
	r, id := original.Clone(original.Context()), make([]byte, 16)
	if r.Method != "POST" && r.Method != "PATCH" || r.Body != nil && r.GetBody == nil {
		return t.Base.RoundTrip(original)
	}
	inDoubt := r.Header.Get("Idempotency-Key") != ""
	if _, err := rand.Read(id); err != nil {
		return nil, err
	} else if !inDoubt {
		r.Header.Set("Idempotency-Key", fmt.Sprintf("%x", id))
	}
	if err := t.Store(r, true); err != nil {
		return nil, err
	}
	operation, until := "", time.Now().Add(t.Patience)
	for pause := 0.2; ; pause = math.Min(5, pause*2) {
		got := t.try(r, r.Method, r.URL.String(), time.Until(until))
		fact, place := factOf(got), got.Header.Get("Operation-Location")
		if to, err := r.URL.Parse(place); err == nil && place != "" && to.Host == r.URL.Host && to.Scheme == r.URL.Scheme {
			operation = to.String() // of the write's own origin: credentials go nowhere else
		}
		if fact == "none" && inDoubt && operation != "" {
			fact, got = t.ask(r, operation, got)
		}
		if fact == "succeeded" || fact == "failed" {
			return got, t.Store(r, false)
		}
		inDoubt = fact == "unknown" || fact == "unprotected" || inDoubt && fact != "not_executed"
		wait, named := time.Duration(pause*float64(time.Second)), got.Header.Get("Retry-After")
		if date, err := http.ParseTime(named); err == nil {
			wait = time.Until(date)
		} else if seconds, err := time.ParseDuration(named + "s"); err == nil {
			wait = seconds
		}
		passes := named != "" || got.StatusCode == 408 || got.StatusCode == 425 || got.StatusCode == 429 || got.StatusCode >= 500
		isOver := time.Now().Add(wait).After(until) || r.Context().Err() != nil
		if isOver || fact == "unprotected" || fact != "unknown" && !passes {
			if inDoubt {
				return nil, &UnknownError{operation, r.Header.Get("Idempotency-Key")}
			}
			return got, t.Store(r, false)
		}
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
		}
		r.Header.Set("Prefer", fmt.Sprintf("wait=%.0f", math.Max(0, math.Min(time.Until(until).Seconds(), t.Attempt.Seconds()/2))))
	}
}

// factOf says what an answer says of the write: first in Mainstay's own word, and only without one by its status.
func factOf(got *http.Response) string {
	outcome, status, said := got.Header.Get("Mainstay-Outcome"), got.StatusCode, got.Header.Get("Mainstay-Error")
	switch {
	case outcome == "in-progress" || status == 0 || outcome+said == "" && status == 408:
		return "unknown"
	case outcome != "":
		return outcome
	case said != "" && documentOf(got)["effect"] != "none":
		return "unprotected" // no key protects here: what may have happened must not be sent again
	case said != "" || status >= 400 && status < 500:
		return "none"
	case status >= 200 && status < 300:
		return "succeeded"
	}
	return "unknown"
}

// ask reads the operation's document, where a repeat was refused.
func (t *Transport) ask(r *http.Request, operation string, refusal *http.Response) (string, *http.Response) {
	got := t.try(r, "GET", operation, t.Attempt)
	told := documentOf(got)
	switch fmt.Sprintf("%d %v %v", got.StatusCode, told["effect"], told["state"]) {
	case "200 happened succeeded":
		if result := t.try(r, "GET", operation+"/result", t.Attempt); factOf(result) == "succeeded" {
			return "succeeded", result
		}
		return "succeeded", got
	case "200 none failed":
		return "failed", got
	case "200 none not_executed":
		return "not_executed", refusal
	}
	return "none", refusal
}

// try sends once and reads all; where that fails, nothing is known: status 0.
func (t *Transport) try(r *http.Request, method, address string, timeout time.Duration) *http.Response {
	none := &http.Response{Header: http.Header{}, Body: http.NoBody}
	ctx, cancel := context.WithTimeout(r.Context(), time.Duration(math.Min(float64(timeout), float64(t.Attempt))))
	defer cancel()
	sent, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return none
	}
	if sent.Header = r.Header.Clone(); method == r.Method && r.GetBody != nil {
		sent.ContentLength = r.ContentLength
		if sent.Body, err = r.GetBody(); err != nil {
			return none
		}
	}
	got, err := t.Base.RoundTrip(sent)
	if err != nil {
		return none
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err != nil {
		return none
	}
	got.Body, got.Request = io.NopCloser(bytes.NewReader(body)), r
	return got
}

// documentOf reads an answer's JSON object, and leaves its body to be read again.
func documentOf(got *http.Response) (told map[string]any) {
	body, _ := io.ReadAll(got.Body)
	got.Body = io.NopCloser(bytes.NewReader(body))
	_ = json.Unmarshal(body, &told)
	return told
}
