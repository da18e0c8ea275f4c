package http

import (
	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// body is a request that reports what is missing or malformed in it.
type body interface{ problems() map[string]string }

// read returns ErrBody with every field at fault; see httpserver.Bind for what is no JSON object.
func read(c echo.Context, b body) error {
	return judge(b, httpserver.Bind(c, b, authentication.ErrBody))
}

// readStrict is read that also refuses fields it does not know.
func readStrict(c echo.Context, b body) error {
	return judge(b, httpserver.BindStrict(c, b, authentication.ErrBody))
}

func judge(b body, err error) error {
	if err != nil {
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
	// DeviceName is what the client calls itself. What it says of its address and its program is ignored for what the
	// request shows.
	DeviceName string `json:"device_name"`
}

type verifyRequest struct {
	Email        string `json:"email"`
	OTP          string `json:"otp"`
	Registration string `json:"registration"` // of a client without cookies
}

// problems reports an otp that cannot be one as ErrBody, not as ErrWrongCode: it is a typing error and costs no try.
func (r *verifyRequest) problems() map[string]string {
	problems := httpserver.Missing(map[string]string{"email": r.Email})
	if _, ok := authentication.ParseDigits(r.OTP); !ok {
		problems["otp"] = "must be 6 digits"
	}
	return problems
}

// registrationResponse is for clients without cookies.
type registrationResponse struct {
	Registration string `json:"registration"`
}

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
