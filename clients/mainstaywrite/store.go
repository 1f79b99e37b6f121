package mainstaywrite

import (
	"net/http"
	"time"
)

// Store keeps what is open, for after a restart.
type Store interface {
	// Save has the request (method, URL, header with the key, GetBody()) on disk before it is sent, and the time with it. It answers
	// when its key was saved first: of a key that is there already it keeps that time. The zero time is for one that nobody knows.
	Save(request *http.Request) (began time.Time, err error)
	// Remove forgets a request whose fate is known.
	Remove(request *http.Request) error
}

// left is how long r may be repeated: for as long as there is patience, and Mainstay knows its key. After that it is a new write.
func (t *Transport) left(r *http.Request) (time.Duration, error) {
	if t.Store == nil {
		return t.Patience, nil
	}
	began, err := t.Store.Save(r)
	if err != nil {
		return 0, err
	}
	left, key := t.Tombstone-time.Since(began), r.Header.Get("Idempotency-Key")
	switch {
	case left <= 0:
		return 0, &UnknownError{Operation: about(r, operationsPlace, "key", key), Key: key, TooOld: true}
	case left < t.Patience:
		return left, nil
	}
	return t.Patience, nil
}
