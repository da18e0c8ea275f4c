// Package http serves bulk invitations (docs/compatibility.md). It judges the shape of a request; the rules are the use
// cases'.
//
// An upload and its report are spooled to disk and read as streams: neither is ever held in memory. The package does not
// prove who makes a request. It limits how many uploads are under way at a time, and not how often one comes.
package http

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/invitation"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// Invitations are the use cases behind the routes.
type Invitations interface {
	// MayInvite returns an error unless the actor may call Invite and Cancel.
	MayInvite(actor invitation.Actor) error
	Invite(ctx context.Context, actor invitation.Actor, u invitation.Upload) (invitation.Receipt, error)
	Cancel(ctx context.Context, actor invitation.Actor, batchID string) (cancelled int64, err error)
	Accept(ctx context.Context, token, password string, client invitation.Client) (invitation.Session, error)
}

// Login is how a browser holds a session.
type Login interface {
	// Client returns where a request comes from.
	Client(c echo.Context) invitation.Client
	// SetLogin sets the cookie of a session.
	SetLogin(c echo.Context, s invitation.Session)
}

type handler struct {
	invitations Invitations
	login       Login
	uploads     *httpserver.Places // by administrator
}

const (
	inviteRoute = "/users/invitations"
	cancelRoute = inviteRoute + "/:project_id/cancel"
)

// Timeout bounds one upload, from its first byte to the response. Storing it is most of that.
const Timeout = 3 * time.Minute

// Limits returns the limits of the routes whose requests are larger or slower than others.
func Limits() map[string]httpserver.Limits {
	return map[string]httpserver.Limits{
		http.MethodPost + " " + inviteRoute: {Body: invitation.MaxUploadBytes, Timeout: Timeout},
		http.MethodPost + " " + cancelRoute: {Timeout: Timeout},
	}
}

// Register puts the routes of invitations on g, whose server needs their Limits. authenticated must set the principal or
// refuse the request.
func Register(g *echo.Group, i Invitations, login Login, authenticated echo.MiddlewareFunc) {
	h := handler{invitations: i, login: login, uploads: &httpserver.Places{
		PerKey:  invitation.MaxUploadsPerAdmin,
		KeyFull: invitation.ErrTooManyUploads,
		Total:   invitation.MaxUploads,
		Full:    invitation.ErrUploadsFull,
	}}
	g.POST(inviteRoute, h.invite, authenticated)
	g.POST(cancelRoute, h.cancel, authenticated)
	g.POST("/authentication/accept-invitation", h.accept, httpserver.PerMinute(60))
}

// invite reads no byte of the body before it knows that the caller may send it.
func (h handler) invite(c echo.Context) error {
	actor, err := h.inviterOf(c)
	if err != nil {
		return err
	}
	key, err := idempotencyKey(c.Request())
	if err != nil {
		return err
	}
	leave, err := h.uploads.Enter(actor.UserID)
	if err != nil {
		return err
	}
	defer leave()
	if err := httpserver.Extend(c); err != nil {
		return err
	}
	sent, err := receive(c)
	if err != nil {
		return err
	}
	defer sent.close()
	rejected, err := newSpool()
	if err != nil {
		return err
	}
	defer rejected.close()
	receipt, err := h.invitations.Invite(c.Request().Context(), actor, invitation.Upload{
		Addresses:      sent,
		Digest:         sent.digest,
		IdempotencyKey: key,
		Locale:         httpserver.Locale(c.Request()),
		Rejected:       rejected.File,
	})
	if err != nil {
		return err
	}
	return respond(c, receipt, rejected)
}

// respond writes the usual envelope around the spooled report.
func respond(c echo.Context, receipt invitation.Receipt, rejected io.ReadSeeker) error {
	if _, err := rejected.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("invitation/http: reading the report of rejected lines: %w", err)
	}
	report, err := gzip.NewReader(rejected)
	if err != nil {
		return fmt.Errorf("invitation/http: reading the report of rejected lines: %w", err)
	}
	w := c.Response()
	w.Header().Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
	w.WriteHeader(http.StatusAccepted)
	_, err = fmt.Fprintf(w, `{"error_code":0,"message":"Success","data":{"project_id":%q,"accepted":%d,"rejected":`,
		receipt.BatchID, receipt.Accepted)
	if err == nil {
		_, err = io.Copy(w, report) //nolint:gosec // G110: our own list, of at most MaxInvitations lines
	}
	if err == nil {
		_, err = io.WriteString(w, "}}\n")
	}
	if err != nil { // a response that was cut must not look like a whole one
		panic(http.ErrAbortHandler)
	}
	return nil
}

type cancelResponse struct {
	ProjectID string `json:"project_id"`
	Cancelled int64  `json:"cancelled"`
}

func (h handler) cancel(c echo.Context) error {
	actor, err := h.inviterOf(c)
	if err != nil {
		return err
	}
	if err := httpserver.Extend(c); err != nil {
		return err
	}
	id := c.Param("project_id")
	n, err := h.invitations.Cancel(c.Request().Context(), actor, id)
	if err != nil {
		return err
	}
	return httpserver.Success(c, http.StatusOK, cancelResponse{id, n})
}

// accept also logs in, as verifying a code does.
func (h handler) accept(c echo.Context) error {
	var request struct {
		Token    string `json:"token"`
		Password string `json:"password"`
	}
	if err := httpserver.BindStrict(c, &request, invitation.ErrBody); err != nil {
		return err
	}
	problems := httpserver.Missing(map[string]string{"token": request.Token, "password": request.Password})
	if len(problems) > 0 {
		return invitation.ErrBody.WithFields(problems)
	}
	session, err := h.invitations.Accept(
		c.Request().Context(), request.Token, request.Password, h.login.Client(c))
	if err != nil {
		return err
	}
	h.login.SetLogin(c, session)
	return httpserver.Success(c, http.StatusOK, nil)
}

// inviterOf returns the caller, who may invite and cancel.
func (h handler) inviterOf(c echo.Context) (invitation.Actor, error) {
	p, ok := httpserver.PrincipalOf(c)
	if !ok {
		return invitation.Actor{}, invitation.ErrUnauthenticated
	}
	actor := invitation.Actor{UserID: p.Subject, Admin: p.Admin()}
	return actor, h.invitations.MayInvite(actor)
}

const maxKeyBytes = 200

// idempotencyKey returns the key of a request, empty when there is none. It returns ErrBody unless that is printable
// ASCII.
func idempotencyKey(r *http.Request) (string, error) {
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	printable := !strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' })
	if len(values) > 1 || key == "" || len(key) > maxKeyBytes || !printable {
		return "", invitation.ErrBody.WithFields(map[string]string{
			"Idempotency-Key": "must be 1 to 200 printable characters",
		})
	}
	return key, nil
}
