package mainstaywrite

import (
	"net/http"
	"net/url"
)

// UnknownError says that the write may have happened: repeat it with the same key, or ask at Operation; never use a new key.
// If it is TooOld, Mainstay may have forgotten the key: do not repeat it either.
type UnknownError struct {
	Operation, Key string
	TooOld         bool
}

func (e *UnknownError) Error() string {
	if e.TooOld {
		return "this write was begun too long ago to be repeated, and may have happened: ask " + e.Operation + ", or have a person look"
	}
	return "it is not known whether this write happened: " + e.Operation
}

// ask reads the operation's document, where a repeat was refused, and what is kept of the service's answer.
func (t *Transport) ask(r *http.Request, operation string, refusal *answer, isNewest bool) *answer {
	got := t.send(r, http.MethodGet, operation)
	if got.StatusCode != http.StatusOK {
		return refusal
	}
	switch told := got.document; told.Effect + " " + told.State {
	case "happened succeeded":
		if result := t.send(r, http.MethodGet, operation+"/result"); result.Header.Get("Mainstay-Outcome") == succeeded {
			return result
		}
	case "none failed":
		got.StatusCode, got.Status = 422, "422 Unprocessable Entity" // as a repeat would be told, not the document's 200
	case "none not_executed":
		if isNewest {
			refusal.outcome = notExecuted
		}
		return refusal
	default:
		return refusal
	}
	got.outcome = got.document.State
	got.Header.Set("Mainstay-Outcome", got.outcome)
	return got
}

// location is the operation's address; credentials go to the write's own origin and nowhere else.
func (a *answer) location(write *url.URL) string {
	said := a.Header.Get("Operation-Location")
	if place, err := write.Parse(said); err == nil && said != "" && place.Host == write.Host && place.Scheme == write.Scheme {
		return place.String()
	}
	return ""
}
