// Package mainstaywrite writes once, through Mainstay. One folder, the standard library, to be copied.
//
//	client := &http.Client{Transport: mainstaywrite.New(), CheckRedirect: mainstaywrite.NoRedirects}
//
// A POST or PATCH gets an Idempotency-Key, unless it has one (which may have been used before), and is repeated, key and bytes
// the same, until its fate is known: the answer says "succeeded" or "failed" in Mainstay-Outcome, or is a refusal of what never
// happened; else *UnknownError. Nothing is repeated where nothing shows that keys are kept. Mainstay-Outcome counts before the status, and Retry-After is obeyed.
package mainstaywrite

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"
)

// Transport is an http.RoundTripper. Leave the client's Timeout at 0, or above Patience: it counts for all repeats together.
type Transport struct {
	Base              http.RoundTripper
	Patience, Attempt time.Duration
	// What Store says was begun longer ago is not sent: *UnknownError, TooOld. It is the least `tombstone_seconds` of /_mainstay/idempotency.
	Tombstone time.Duration
	Store     Store // or nil
}

// New is patient for a minute, 15 s for one attempt, and repeats nothing that was begun 30 days ago.
func New() *Transport {
	return &Transport{http.DefaultTransport, time.Minute, 15 * time.Second, 30 * 24 * time.Hour, nil}
}

// NoRedirects is for http.Client.CheckRedirect.
func NoRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// RoundTrip writes once; it needs GetBody, which http.NewRequest sets for bytes and strings.
func (t *Transport) RoundTrip(original *http.Request) (*http.Response, error) {
	if original.Method != "POST" && original.Method != "PATCH" {
		return t.Base.RoundTrip(original)
	}
	if original.Body != nil {
		defer original.Body.Close() // what is sent are copies by GetBody
		if original.GetBody == nil {
			return nil, errors.New("a body without GetBody cannot be sent twice")
		}
	}
	r, id := original.Clone(original.Context()), make([]byte, 16)
	inDoubt := r.Header.Get("Idempotency-Key") != ""
	if _, err := rand.Read(id); err != nil {
		return nil, err
	} else if !inDoubt {
		r.Header.Set("Idempotency-Key", hex.EncodeToString(id))
	}
	left, err := t.left(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), left)
	defer cancel()
	answer, err := t.settle(r.WithContext(ctx), inDoubt)
	if err != nil || t.Store == nil {
		return answer, err
	}
	return answer, t.Store.Remove(r)
}

// settle repeats the request until its fate is known or patience ends.
func (t *Transport) settle(r *http.Request, inDoubt bool) (*http.Response, error) {
	until, _ := r.Context().Deadline()
	operation, isNewest, kept, first := "", false, notAsked, (*http.Response)(nil)
	for pause := 0.2; ; pause = math.Min(5, pause*2) {
		got := t.once(r, inDoubt, &kept)
		if kept == keepsNone {
			return nil, &UnknownError{Operation: operation, Key: r.Header.Get("Idempotency-Key")}
		}
		wait, isWorth := got.retryAfter(pause)
		place, said := got.location(r.URL), got.Header.Get("Mainstay-Outcome")
		// An attempt that names no address may have begun another operation: then the old one's "not executed" is not about it.
		isNewest = place != "" || isNewest && got.outcome == none
		if place != "" {
			operation = place
		}
		if said == "in-progress" && got.StatusCode < 300 {
			first = got.Response // the service's own, too large to be kept: it comes once
		}
		if got.outcome == none && inDoubt && operation != "" {
			got = t.ask(r, operation, got, isNewest)
		}
		if got.outcome == succeeded && first != nil && got.Header.Get("Mainstay-Error") != "" {
			first.Header.Set("Mainstay-Outcome", succeeded)
			return first, nil
		}
		if got.outcome == succeeded || got.outcome == failed {
			return got.Response, nil
		}
		inDoubt = got.outcome == unknown || got.outcome == unprotected || inDoubt && got.outcome != notExecuted
		if !isWorth || time.Now().Add(wait).After(until) || r.Context().Err() != nil {
			if inDoubt && !isNewest {
				operation = ""
			}
			if inDoubt {
				return nil, &UnknownError{Operation: operation, Key: r.Header.Get("Idempotency-Key")}
			}
			return got.Response, nil
		}
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
		}
		r.Header.Set("Prefer", fmt.Sprintf("wait=%.0f", math.Max(0, math.Min(time.Until(until).Seconds(), t.Attempt.Seconds()/2))))
	}
}
