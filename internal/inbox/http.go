package inbox

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"

	"github.com/smap-platform/identity/pkg/httpserver"
)

//go:embed page
var pageFiles embed.FS

// pagePolicy lets the page run its own script and nothing else. A mail is shown in a sandboxed frame that inherits this
// policy, hence the inline styles: mails carry theirs in attributes. Images come only from within the mail, so that
// opening one notifies no server.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; " +
	"img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors "

// handler serves the page and the API:
//
//	GET    /api/messages?to=&limit=  newest first, at most limit; 400 unless limit is a positive number
//	GET    /api/messages/{id}        one mail with message_id and headers; 404 when there is none, or no longer
//	DELETE /api/messages             deletes all; 204
//	GET    /api/events               server-sent events, see streamEvents
//	GET    /live                     200 while the process serves
//	GET    /                         the page
func (i *Inbox) handler() http.Handler {
	page, _ := fs.Sub(pageFiles, "page") // it fails only for a name that is no path
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/messages", i.listMessages)
	mux.HandleFunc("GET /api/messages/{id}", i.getMessage)
	mux.HandleFunc("DELETE /api/messages", i.deleteMessages)
	mux.HandleFunc("GET /api/events", i.streamEvents)
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.Handle("GET /", http.FileServerFS(page))
	// A page of another site has nothing deleted, even where a browser would let it ask.
	return i.secured(http.NewCrossOriginProtection().Handler(mux))
}

// secured refuses requests for another host: a page whose name was made to resolve here would read every code.
func (i *Inbox) secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !httpserver.Hosts(i.opts.Hosts).Allow(r.Host) {
			writeJSON(w, http.StatusForbidden, map[string]string{
				"error": "this host name is not the inbox's; use 127.0.0.1, localhost, or a name in INBOX_HOSTS",
			})
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy+i.framedBy(r.Host))
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// framedBy returns which page may show the inbox beside its own content: none, or one of the host that was asked for.
func (i *Inbox) framedBy(host string) string {
	if i.opts.FramePort == nil {
		return "'none'"
	}
	page := url.URL{Scheme: "http", Host: net.JoinHostPort(httpserver.HostName(host), strconv.Itoa(i.opts.FramePort()))}
	return page.String()
}

func (i *Inbox) listMessages(w http.ResponseWriter, r *http.Request) {
	found := i.Messages(r.URL.Query().Get("to"))
	if text := r.URL.Query().Get("limit"); text != "" {
		limit, err := strconv.Atoi(text)
		if err != nil || limit < 1 {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": "limit must be a whole number of 1 or more"})
			return
		}
		found = found[:min(limit, len(found))]
	}
	writeJSON(w, http.StatusOK, found)
}

func (i *Inbox) getMessage(w http.ResponseWriter, r *http.Request) {
	m, ok := i.mails.get(r.PathValue("id"))
	if !ok {
		writeJSON(w, http.StatusNotFound, map[string]string{"error": "no such mail, it may have been pushed out or deleted"})
		return
	}
	writeJSON(w, http.StatusOK, struct {
		Message
		MessageID string               `json:"message_id"`
		Headers   textproto.MIMEHeader `json:"headers"`
	}{m, m.MessageID, m.Headers})
}

func (i *Inbox) deleteMessages(w http.ResponseWriter, _ *http.Request) {
	i.mails.clear()
	w.WriteHeader(http.StatusNoContent)
}

// streamEvents sends the content of the inbox and its changes: first a "reset" (discard what you know), then "mails"
// with a JSON array, oldest first, for the mails in the inbox and again for those that arrive; another "reset" after a
// DELETE. It is one ordered stream, so that a page which reconnects needs no other request.
func (i *Inbox) streamEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	stream := http.NewResponseController(w)
	mails, at, changed := i.mails.since(cursor{})
	reset := true
	for {
		if err := writeEvents(w, stream, reset, mails); err != nil {
			return // the page has disconnected
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
		before := at
		mails, at, changed = i.mails.since(before)
		reset = at.clears != before.clears
	}
}

func writeEvents(w http.ResponseWriter, stream *http.ResponseController, reset bool, mails []Message) error {
	if reset {
		fmt.Fprint(w, "event: reset\ndata: {}\n\n")
	}
	if len(mails) > 0 {
		body, err := json.Marshal(mails) // on one line, as an event requires
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "event: mails\ndata: %s\n\n", body)
	}
	return stream.Flush() // fails when a write did
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // it fails only when the client has disconnected
}
