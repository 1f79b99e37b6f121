// Package mainstaywrite writes once, through Mainstay. One file of the standard library, to be copied.
//
//	client := &http.Client{Transport: &mainstaywrite.Transport{}, CheckRedirect: mainstaywrite.NoRedirects}
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
	"strings"
	"time"
)

// Transport is an http.RoundTripper. Leave the client's Timeout at 0, or above Patience: it counts for all repeats together.
type Transport struct {
	Base              http.RoundTripper         // nil: http.DefaultTransport
	Patience, Attempt time.Duration             // 0: 60 s, 15 s
	Save              func(*http.Request) error // before it is sent: keep method, URL, header and GetBody() for after a restart
	Remove            func(*http.Request)       // its fate is known
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
	request, id := original.Clone(original.Context()), make([]byte, 16)
	if request.Method != "POST" && request.Method != "PATCH" || request.Body != nil && request.GetBody == nil {
		return t.base().RoundTrip(original)
	}
	isKnown := request.Header.Get("Idempotency-Key") != ""
	if _, err := rand.Read(id); err != nil {
		return nil, err
	} else if !isKnown {
		request.Header.Set("Idempotency-Key", fmt.Sprintf("%x", id))
	}
	if t.Save != nil {
		if err := t.Save(request); err != nil {
			return nil, err
		}
	}
	got, err := t.settle(request, isKnown, time.Now().Add(or(t.Patience, time.Minute)), "")
	if err == nil && t.Remove != nil {
		t.Remove(request)
	}
	return got, err
}

func (t *Transport) settle(r *http.Request, inDoubt bool, until time.Time, operation string) (*http.Response, error) {
	for pause := 0.2; ; pause = math.Min(5, pause*2) {
		got := t.try(r, r.Method, r.URL.String(), time.Until(until))
		fact := factOf(got)
		if place, err := r.URL.Parse(got.Header.Get("Operation-Location")); err == nil && *place != *r.URL && place.Scheme+place.Host == r.URL.Scheme+r.URL.Host {
			operation = place.String() // of the write's own origin: credentials go nowhere else
		}
		if fact == "none" && inDoubt && operation != "" {
			fact, got = t.ask(r, operation, got)
		}
		if fact == "succeeded" || fact == "failed" {
			return got, nil
		}
		inDoubt = fact == "unknown" || fact == "unprotected" || inDoubt && fact != "not_executed"
		wait, isNamed := time.Duration(pause*1e9), true
		if date, err := http.ParseTime(got.Header.Get("Retry-After")); err == nil {
			wait = time.Until(date) + time.Second
		} else if named, err := time.ParseDuration(got.Header.Get("Retry-After") + "s"); err == nil {
			wait = named
		} else {
			isNamed = strings.Contains(" 408 425 429 ", fmt.Sprint(" ", got.StatusCode, " ")) || got.StatusCode >= 500
		}
		if fact == "unprotected" || fact != "unknown" && !isNamed || time.Now().Add(wait).After(until) || r.Context().Err() != nil {
			if inDoubt {
				return nil, &UnknownError{operation, r.Header.Get("Idempotency-Key")}
			}
			return got, nil
		}
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
		}
		r.Header.Set("Prefer", fmt.Sprintf("wait=%.0f", math.Max(0, math.Min(time.Until(until).Seconds(), 7))))
	}
}

// factOf says what an answer says of the write: first in Mainstay's own word, and only without one by its status.
func factOf(got *http.Response) string {
	outcome, status := got.Header.Get("Mainstay-Outcome"), got.StatusCode
	switch {
	case outcome == "in-progress" || status == 0 || outcome == "" && status == 408:
		return "unknown"
	case outcome != "":
		return outcome
	case got.Header.Get("Mainstay-Error") != "" && documentOf(got)["effect"] != "none":
		return "unprotected" // no key protects here: what may have happened must not be sent again
	case status >= 400 && status < 500 || got.Header.Get("Mainstay-Error") != "":
		return "none"
	case status >= 200 && status < 300:
		return "succeeded"
	}
	return "unknown"
}

// ask reads the operation's document, where a repeat was refused.
func (t *Transport) ask(r *http.Request, operation string, refusal *http.Response) (string, *http.Response) {
	got := t.try(r, "GET", operation, or(t.Attempt, time.Minute))
	told := documentOf(got)
	if got.StatusCode == 200 && told["effect"] == "happened" {
		if result := t.try(r, "GET", operation+"/result", or(t.Attempt, time.Minute)); factOf(result) == "succeeded" {
			return "succeeded", result
		}
		return "succeeded", got
	} else if got.StatusCode == 200 && told["effect"] == "none" && told["state"] == "failed" {
		return "failed", got
	} else if got.StatusCode == 200 && told["effect"] == "none" && told["state"] == "not_executed" {
		return "not_executed", refusal
	}
	return "none", refusal
}

// try sends once and reads all; where that fails, nothing is known: status 0.
func (t *Transport) try(r *http.Request, method, address string, timeout time.Duration) *http.Response {
	none := &http.Response{Header: http.Header{}, Body: http.NoBody}
	ctx, cancel := context.WithTimeout(r.Context(), min(timeout, or(t.Attempt, 15*time.Second)))
	defer cancel()
	sent, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return none
	}
	if sent.Header = r.Header.Clone(); method == r.Method && r.Body != nil {
		sent.ContentLength = r.ContentLength
		if sent.Body, err = r.GetBody(); err != nil {
			return none
		}
	}
	got, err := t.base().RoundTrip(sent)
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

func (t *Transport) base() http.RoundTripper {
	if t.Base == nil {
		return http.DefaultTransport
	}
	return t.Base
}

func min(a, b time.Duration) time.Duration {
	if a < b {
		return a
	}
	return b
}

func or(given, otherwise time.Duration) time.Duration {
	if given == 0 {
		return otherwise
	}
	return given
}
