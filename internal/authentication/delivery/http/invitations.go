package http

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// Invitations is what the routes of invitations in bulk ask of the domain.
type Invitations interface {
	Invite(ctx context.Context, actor authentication.Actor, u authentication.Upload) (authentication.Invited, error)
	Cancel(ctx context.Context, actor authentication.Actor, batchID string) (cancelled int64, err error)
	Accept(ctx context.Context, token, password string) (authentication.Session, error)
}

type invitationHandler struct {
	invitations Invitations
	cookie      CookieOptions
}

// RegisterInvitations puts the routes of invitations in bulk on g; see Register for authenticated. POST /users/invitations
// takes bodies of up to authentication.MaxUploadBytes, and as long as writing them needs: the server has to let it.
func RegisterInvitations(g *echo.Group, i Invitations, o CookieOptions, authenticated echo.MiddlewareFunc) {
	h := invitationHandler{i, o}
	g.POST("/users/invitations", h.invite, authenticated)
	g.POST("/users/invitations/:project_id/cancel", h.cancel, authenticated)
	g.POST("/authentication/accept-invitation", h.accept)
}

// invite spools the upload, and what is rejected of it: neither is ever held in memory.
func (h invitationHandler) invite(c echo.Context) error {
	actor, err := actorOf(c)
	if err != nil {
		return err
	}
	if !actor.Admin { // before a byte of the body is read
		return authentication.ErrForbidden
	}
	key, err := idempotencyKey(c.Request())
	if err != nil {
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
	invited, err := h.invitations.Invite(c.Request().Context(), actor, authentication.Upload{
		Addresses: sent, Digest: sent.digest, IdempotencyKey: key, Locale: locale(c), Rejected: rejected.File,
	})
	if err != nil {
		return err
	}
	return answerInvited(c, invited, rejected)
}

// answerInvited writes the usual envelope around the spooled list.
func answerInvited(c echo.Context, invited authentication.Invited, rejected io.ReadSeeker) error {
	if _, err := rejected.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("authentication/http: reading what was rejected: %w", err)
	}
	lines, err := gzip.NewReader(rejected)
	if err != nil {
		return fmt.Errorf("authentication/http: reading what was rejected: %w", err)
	}
	id, err := json.Marshal(invited.BatchID)
	if err != nil {
		return err
	}
	w := c.Response()
	w.Header().Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
	w.WriteHeader(http.StatusAccepted)
	_, err = fmt.Fprintf(w, `{"error_code":0,"message":"Success","data":{"project_id":%s,"accepted":%d,"rejected":`, id, invited.Accepted)
	if err == nil {
		_, err = io.Copy(w, lines) //nolint:gosec // G110: our own list, of at most MaxInvitations lines
	}
	if err == nil {
		_, err = io.WriteString(w, "}}\n")
	}
	if err != nil { // half an answer is out, and must not look like a whole one
		panic(http.ErrAbortHandler)
	}
	return nil
}

type cancelAnswer struct {
	ProjectID string `json:"project_id"`
	Cancelled int64  `json:"cancelled"`
}

func (h invitationHandler) cancel(c echo.Context) error {
	actor, err := actorOf(c)
	if err != nil {
		return err
	}
	id := c.Param("project_id")
	n, err := h.invitations.Cancel(c.Request().Context(), actor, id)
	if err != nil {
		return err
	}
	return httpserver.Success(c, http.StatusOK, cancelAnswer{id, n})
}

type acceptRequest struct {
	Token    string `json:"token"`
	Password string `json:"password"`
}

func (r *acceptRequest) problems() map[string]string {
	problems := map[string]string{}
	require(problems, "token", r.Token)
	require(problems, "password", r.Password)
	return problems
}

// accept also logs in, as verifyOTP does.
func (h invitationHandler) accept(c echo.Context) error {
	var r acceptRequest
	if err := httpserver.BindStrict(c, &r, authentication.ErrBody); err != nil {
		return err
	}
	if problems := r.problems(); len(problems) > 0 {
		return authentication.ErrBody.WithFields(problems)
	}
	session, err := h.invitations.Accept(c.Request().Context(), r.Token, r.Password)
	if err != nil {
		return err
	}
	c.SetCookie(h.cookie.login(session.Token))
	return httpserver.Success(c, http.StatusOK, nil)
}
