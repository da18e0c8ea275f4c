package http

import (
	"regexp"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// body is a request that reports what is missing or malformed in it.
type body interface{ problems() map[string]string }

// read returns ErrBody with every field at fault; see httpserver.Bind for what is no JSON object.
func read(c echo.Context, b body) error {
	if err := httpserver.Bind(c, b, authentication.ErrBody); err != nil {
		return err
	}
	if problems := b.problems(); len(problems) > 0 {
		return authentication.ErrBody.WithFields(problems)
	}
	return nil
}

type credentialsRequest struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

func (r *credentialsRequest) problems() map[string]string {
	return httpserver.Missing(map[string]string{"email": r.Email, "password": r.Password})
}

type loginRequest struct {
	credentialsRequest
	Remember bool `json:"remember"`
}

type verifyRequest struct {
	Email string `json:"email"`
	OTP   string `json:"otp"`
}

var sixDigits = regexp.MustCompile(`^[0-9]{6}$`)

// problems reports an otp that cannot be one as ErrBody, not as ErrWrongCode: it is a typing error and costs no try.
func (r *verifyRequest) problems() map[string]string {
	problems := httpserver.Missing(map[string]string{"email": r.Email})
	if !sixDigits.MatchString(r.digits()) {
		problems["otp"] = "must be 6 digits"
	}
	return problems
}

// digits removes the spaces that come along when a code is copied from a mail.
func (r *verifyRequest) digits() string { return strings.TrimSpace(r.OTP) }

type userResponse struct {
	ID       string `json:"id"`
	Email    string `json:"email"`
	FullName string `json:"full_name,omitempty"`
}

type loginResponse struct {
	User userResponse `json:"user"`
}

func present(u authentication.User) userResponse {
	return userResponse{ID: u.ID, Email: u.Email, FullName: u.FullName}
}
