// Package operator is for who runs Caddy: it shows the sessions of a running
// Caddy and ends them, by the admin API (admin.go) and the command `caddy
// session`, which asks that API. It sees what the store has in the clear; it
// knows neither the handler nor the data of sessions.
package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-session/caddy-session/cookiejar"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/sessionapp"
)

func init() {
	caddy.RegisterModule(AdminAPI{})
}

// AdminAPI lets the operator see and end sessions, under `/session/` at Caddy's
// admin endpoint. It shows neither data nor anything that lets somebody in.
//
// Request | Body | Answer
// --------|------|-------
// `GET /session/stats` | | the store and what has happened since Caddy started
// `POST /session/list` | `subject`, `realm`, `host`, `label`, `cursor`, `limit` | a page of `sessions`, and `next` if there are more
// `POST /session/show` | `id` | one session
// `POST /session/end` | `id`, or `subject` and perhaps `realm` and `except`, or `all`; `cursor` | how many have `ended`, and `next` if it has to be asked again with this cursor
//
// Bodies are JSON, with that Content-Type. Names of users are never a part of
// the URI, which Caddy logs. Without a realm, the sessions of a subject are
// found by looking at all sessions.
type AdminAPI struct{}

// CaddyModule returns the Caddy module information.
func (AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.session", New: func() caddy.Module { return new(AdminAPI) }}
}

// Routes implements caddy.AdminRouter.
func (AdminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: "/session/", Handler: caddy.AdminHandlerFunc(serveAdmin)}}
}

const (
	// pageSize is how many sessions a page has, and most how many it may have
	// and how many one request looks at.
	pageSize     = 100
	mostPageSize = 1000

	// mostAdminBody bounds the body of a request in bytes.
	mostAdminBody = 64 << 10

	// adminTimeout bounds what one request does at the store.
	adminTimeout = 30 * time.Second
)

func serveAdmin(w http.ResponseWriter, r *http.Request) error {
	const prefix = "/session/"
	action := strings.TrimPrefix(r.URL.Path, prefix)
	serve := map[string]func(context.Context, *sessionapp.App, adminQuery) (any, error){
		"stats": adminStats, "list": adminList, "show": adminShow, "end": adminEnd,
	}[action]
	if serve == nil {
		return adminError(http.StatusNotFound, errors.New("no such path: there are /session/stats, list, show and end"))
	}
	var q adminQuery
	if action == "stats" {
		if r.Method != http.MethodGet {
			return adminError(http.StatusMethodNotAllowed, errors.New("use GET"))
		}
	} else if err := readQuery(r, &q); err != nil {
		return err
	}
	app, err := activeApp()
	if err != nil {
		return adminError(http.StatusNotFound, err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
	defer cancel()
	answer, err := serve(ctx, app, q)
	switch {
	case errors.Is(err, session.ErrNotFound):
		return adminError(http.StatusNotFound, errors.New("there is no session with this id"))
	case errors.Is(err, session.ErrUnreadable):
		return adminError(http.StatusConflict, err)
	case err != nil:
		if _, ok := errors.AsType[caddy.APIError](err); ok {
			return err
		}
		return adminError(http.StatusServiceUnavailable, err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, answer)
}

func adminError(status int, err error) error {
	return caddy.APIError{HTTPStatus: status, Err: err}
}

// activeApp returns the app of the configuration that is running.
func activeApp() (*sessionapp.App, error) {
	app, err := caddy.ActiveContext().AppIfConfigured("session")
	if err != nil {
		return nil, errors.New("the running configuration has no sessions")
	}
	return app.(*sessionapp.App), nil
}

// readQuery reads the body strictly. That it has to be declared as JSON keeps
// web pages from sending it without asking first (a simple request as of the
// Fetch standard can't have this type).
func readQuery(r *http.Request, q *adminQuery) error {
	if r.Method != http.MethodPost {
		return adminError(http.StatusMethodNotAllowed, errors.New("use POST with a JSON body"))
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return adminError(http.StatusUnsupportedMediaType, errors.New("send Content-Type: application/json"))
	}
	decoder := json.NewDecoder(http.MaxBytesReader(nil, r.Body, mostAdminBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(q); err != nil {
		return adminError(http.StatusBadRequest, fmt.Errorf("reading the JSON body: %w", err))
	}
	if _, err := decoder.Token(); err != io.EOF { //nolint:errorlint // it is never wrapped
		return adminError(http.StatusBadRequest, errors.New("something follows the JSON object in the body"))
	}
	for _, id := range []string{q.ID, q.Except} {
		if id != "" && !session.ValidID(id) {
			return adminError(http.StatusBadRequest, errors.New("an id has 22 characters of A-Z a-z 0-9 _ -"))
		}
	}
	return nil
}

func adminList(ctx context.Context, app *sessionapp.App, q adminQuery) (any, error) {
	if q.ID != "" || q.Except != "" || q.All {
		return nil, adminError(http.StatusBadRequest, errors.New("list takes subject, realm, host, label, cursor and limit"))
	}
	infos, next, err := pageOf(ctx, app, q)
	if err != nil {
		return nil, err
	}
	page := adminPage{Sessions: make([]adminSession, 0, len(infos)), Next: next}
	for _, info := range infos {
		page.Sessions = append(page.Sessions, sessionOf(app, info))
	}
	return page, nil
}

// pageOf returns the sessions that a query means, a page at a time. One without
// both subject and realm looks at all sessions, so pages may be empty.
func pageOf(ctx context.Context, app *sessionapp.App, q adminQuery) ([]session.Info, string, error) {
	switch {
	case q.Limit < 0 || q.Limit > mostPageSize:
		return nil, "", adminError(http.StatusBadRequest, fmt.Errorf("limit must be 1 to %d", mostPageSize))
	case q.Limit == 0:
		q.Limit = pageSize
	}
	var infos []session.Info
	var next string
	var err error
	if q.Subject != "" && q.Realm != "" {
		infos, next, err = app.Operator().ListSubject(ctx, q.Realm, q.Subject, q.Cursor, q.Limit)
	} else {
		infos, next, err = app.Operator().List(ctx, q.Cursor, q.Limit)
	}
	if host, ok := cookiejar.CanonicalHost(q.Host); ok {
		q.Host = host
	}
	label := strings.ToLower(q.Label)
	return slices.DeleteFunc(infos, func(i session.Info) bool {
		return q.Subject != "" && i.Subject != q.Subject || q.Realm != "" && i.Realm != q.Realm ||
			q.Host != "" && i.Scope.Host != q.Host || !strings.Contains(strings.ToLower(i.Label), label)
	}), next, err
}

func adminShow(ctx context.Context, app *sessionapp.App, q adminQuery) (any, error) {
	if q.ID == "" {
		return nil, adminError(http.StatusBadRequest, errors.New("show takes an id"))
	}
	info, err := app.Operator().Show(ctx, q.ID)
	if err != nil {
		return nil, err
	}
	return sessionOf(app, info), nil
}

func adminEnd(ctx context.Context, app *sessionapp.App, q adminQuery) (any, error) {
	given := 0
	for _, is := range []bool{q.ID != "", q.Subject != "", q.All} {
		if is {
			given++
		}
	}
	// Labels are of visitors' making, so none ends anybody else's session.
	if given != 1 || q.Host != "" || q.Label != "" || q.ID != "" && (q.Realm != "" || q.Except != "" || q.Cursor != "") {
		return nil, adminError(http.StatusBadRequest, errors.New("end takes an id, or a subject and perhaps realm and except, or all: true"))
	}
	if q.ID != "" {
		there, err := app.Operator().End(ctx, q.ID)
		if err == nil && !there {
			err = session.ErrNotFound
		}
		return adminEnded{Ended: 1}, err
	}
	if q.Subject != "" && q.Realm != "" {
		ended, err := app.Operator().EndSubject(ctx, q.Realm, q.Subject, q.Except)
		return adminEnded{Ended: ended}, err
	}
	if q.Limit == 0 {
		q.Limit = mostPageSize
	}
	infos, next, err := pageOf(ctx, app, q)
	if err != nil {
		return nil, err
	}
	infos = slices.DeleteFunc(infos, func(i session.Info) bool { return i.ID == q.Except })
	if err := app.Operator().EndMany(ctx, infos); err != nil {
		return nil, err
	}
	return adminEnded{Ended: len(infos), Next: next}, nil
}

// Interface guards.
var _ caddy.AdminRouter = AdminAPI{}
