package admin

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
)

// text answers with one line.
func text(w http.ResponseWriter, code int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	io.WriteString(w, line+"\n")
}

// answer answers with an object.
func answer(w http.ResponseWriter, v any) { answerWith(w, http.StatusOK, v) }

func answerWith(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // a bug
		code, b = http.StatusInternalServerError, []byte(`{"error":"the answer can't be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)+1))
	w.WriteHeader(code)
	w.Write(append(b, '\n'))
}

// refuse answers with an error in words.
func refuse(w http.ResponseWriter, code int, why string) {
	answerWith(w, code, map[string]string{"error": why})
}

// history is the object of the last minutes.
func (d *Door) history() any { return map[string]any{"samples": d.g.History()} }

// maxFailures is the most that one answer holds.
const maxFailures = 100

// failures are the last ones: of ?script=NAME, at most ?most=N.
func (d *Door) failures(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	most := maxFailures
	if s := q.Get("most"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			refuse(w, http.StatusBadRequest, "most="+strconv.Quote(s)+" is not a number from 1 on")
			return
		}
		most = min(n, maxFailures)
	}
	answer(w, map[string]any{"failures": d.g.Failures(q.Get("script"), most)})
}
