package mainstaywrite

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// What is known of a write: the words of Mainstay-Outcome, and one more; its "in-progress" is unknown here.
const (
	succeeded   = "succeeded"
	failed      = "failed"       // decided against: a new attempt needs a new key
	notExecuted = "not_executed" // nothing happened: the same key may be used again
	none        = "none"         // this request did nothing, which says nothing about an earlier one
	unknown     = "unknown"
	unprotected = "unprotected" // no key protects here: what may have happened must not be sent again
)

// answer is a response that was read whole, and what it says of the write. Status 0: there was none.
type answer struct {
	*http.Response
	document struct{ Effect, State string }
	outcome  string
}

// noAnswer is what is known without one: nothing.
func noAnswer() *answer {
	return &answer{Response: &http.Response{Header: http.Header{}, Body: http.NoBody}, outcome: unknown}
}

// send sends once and reads all; where that fails, nothing is known.
func (t *Transport) send(r *http.Request, method, address string) *answer {
	ctx, cancel := context.WithTimeout(r.Context(), t.Attempt)
	defer cancel()
	sent, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return noAnswer()
	}
	if sent.Header = r.Header.Clone(); method == r.Method && r.GetBody != nil {
		sent.ContentLength = r.ContentLength
		if sent.Body, err = r.GetBody(); err != nil {
			return noAnswer()
		}
	}
	response, err := t.Base.RoundTrip(sent)
	if err != nil {
		return noAnswer()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return noAnswer()
	}
	response.Body, response.Request = io.NopCloser(bytes.NewReader(body)), r
	got := &answer{Response: response}
	_ = json.Unmarshal(body, &got.document) // what is no JSON has no members
	got.outcome = got.says()
	return got
}

// says is what an answer says of the write: first in Mainstay's own word, and only without one by its status.
func (a *answer) says() string {
	outcome, said := a.Header.Get("Mainstay-Outcome"), a.Header.Get("Mainstay-Error")
	switch {
	case outcome == succeeded || outcome == failed || outcome == notExecuted || outcome == none:
		return outcome
	case outcome != "":
		return unknown
	case said != "" && a.document.Effect != "none":
		return unprotected
	case said != "" || a.StatusCode >= 400 && a.StatusCode < 500 && a.StatusCode != 408:
		return none
	case a.StatusCode >= 200 && a.StatusCode < 300:
		return succeeded
	}
	return unknown
}

// retryAfter is when to come back, after `pause` seconds if nothing is named, and whether that is any use.
func (a *answer) retryAfter(pause float64) (time.Duration, bool) {
	wait, named := time.Duration(pause*float64(time.Second)), a.Header.Get("Retry-After")
	if date, err := http.ParseTime(named); err == nil {
		wait = time.Until(date)
	} else if seconds, err := time.ParseDuration(named + "s"); err == nil {
		wait = seconds
	}
	passes := named != "" || a.StatusCode == 408 || a.StatusCode == 425 || a.StatusCode == 429 || a.StatusCode >= 500
	return wait, a.outcome == unknown || a.outcome != unprotected && passes
}
