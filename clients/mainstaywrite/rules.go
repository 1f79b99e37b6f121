package mainstaywrite

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Below `control.path`.
const rulesPlace, operationsPlace = "/_mainstay/idempotency", "/_mainstay/operations"

// about is the address at which Mainstay is asked something about the path of r.
func about(r *http.Request, place, name, value string) string {
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	question := url.Values{name: {value}, "path": {path}}
	return r.URL.ResolveReference(&url.URL{Path: place, RawQuery: question.Encode()}).String()
}

// Whether keys are kept where a write goes: where they are not, a repeat is a second write.
const (
	notAsked = iota // or nobody could be asked
	keepsKeys
	keepsNone
)

type route struct {
	Path    string
	Methods []string
	Key     struct{ Header string }
}

// once sends the write, if it is no repeat, or keys are kept there; that is asked where no answer has shown it.
func (t *Transport) once(r *http.Request, inDoubt bool, kept *int) *answer {
	if inDoubt && *kept == notAsked {
		*kept = t.keeps(r)
	}
	if inDoubt && *kept != keepsKeys {
		return noAnswer()
	}
	got := t.send(r, r.Method, r.URL.String())
	if got.Header.Get("Mainstay-Outcome") != "" {
		*kept = keepsKeys
	}
	return got
}

// keeps asks whether keys are kept where `r` goes; a Mainstay that is older lists all of its routes.
func (t *Transport) keeps(r *http.Request) int {
	got := t.send(r, http.MethodGet, about(r, rulesPlace, "method", r.Method))
	if got.StatusCode == 0 || got.StatusCode == 429 || got.StatusCode >= 500 {
		return notAsked
	}
	var rules struct{ Routes []route }
	body, err := io.ReadAll(got.Body)
	if err != nil || got.StatusCode != http.StatusOK || json.Unmarshal(body, &rules) != nil {
		return keepsNone // it is not Mainstay that answers
	}
	for _, each := range rules.Routes {
		if each.takes(r) {
			return keepsKeys
		}
	}
	return keepsNone
}

func (each route) takes(r *http.Request) bool {
	prefix := strings.TrimSuffix(each.Path, "/**")
	want, have := strings.Split(prefix, "/"), strings.Split(r.URL.EscapedPath(), "/")
	if len(have) < len(want) || prefix == each.Path && len(have) != len(want) || !strings.EqualFold(each.Key.Header, "Idempotency-Key") {
		return false
	}
	for at, part := range want {
		if part != have[at] && (!strings.HasPrefix(part, "{") || have[at] == "") {
			return false
		}
	}
	for _, method := range each.Methods {
		if method == r.Method {
			return true
		}
	}
	return false
}
