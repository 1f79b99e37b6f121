package mainstaywrite

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// rulesPlace is where Mainstay says for which routes it keeps keys: below `control.path`.
const rulesPlace = "/_mainstay/idempotency"

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

// keeps asks whether keys are kept where `r` goes.
func (t *Transport) keeps(r *http.Request) int {
	place, err := r.URL.Parse(rulesPlace)
	if err != nil {
		return keepsNone
	}
	got := t.send(r, http.MethodGet, place.String())
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
