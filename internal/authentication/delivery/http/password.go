package http

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/httpserver"
)

type forgotRequest struct {
	Email string `json:"email"`
}

func (r *forgotRequest) problems() map[string]string {
	return httpserver.Missing(map[string]string{"email": r.Email})
}

type resetRequest struct {
	verifyRequest
	Password string `json:"password"`
}

func (r *resetRequest) problems() map[string]string {
	problems := r.verifyRequest.problems()
	for field, problem := range httpserver.Missing(map[string]string{"password": r.Password}) {
		problems[field] = problem
	}
	return problems
}

type changeRequest struct {
	Old string `json:"old_password"`
	New string `json:"new_password"`
}

func (r *changeRequest) problems() map[string]string {
	return httpserver.Missing(map[string]string{"old_password": r.Old, "new_password": r.New})
}

func (h handler) forgotPassword(c echo.Context) error {
	var r forgotRequest
	if err := readStrict(c, &r); err != nil {
		return err
	}
	browser, err := h.accounts.ForgotPassword(c.Request().Context(), r.Email, h.auth.Client(c))
	if err != nil {
		return err
	}
	h.auth.Cookie.setBrowser(c, browser)
	return httpserver.Success(c, http.StatusOK, registrationResponse{browser})
}

// resetPassword also logs in.
func (h handler) resetPassword(c echo.Context) error {
	var r resetRequest
	if err := readStrict(c, &r); err != nil {
		return err
	}
	digits, _ := authentication.ParseDigits(r.OTP) // read has judged it
	login, err := h.accounts.ResetPassword(
		c.Request().Context(), r.Email, digits, r.Password, h.auth.Client(c, r.Registration))
	if err != nil {
		return err
	}
	h.auth.Cookie.SetLogin(c, login.Token.Value, login.Token.Lifetime)
	return httpserver.Success(c, http.StatusOK, loginResponse{present(login.User)})
}

// changePassword replaces the login, which has ended with the old password.
func (h handler) changePassword(c echo.Context) error {
	caller, err := callerOf(c)
	if err != nil {
		return err
	}
	var r changeRequest
	if err := readStrict(c, &r); err != nil {
		return err
	}
	login, err := h.accounts.ChangePassword(c.Request().Context(), caller.Identity, r.Old, r.New, h.auth.Client(c))
	if err != nil {
		return err
	}
	h.auth.Cookie.SetLogin(c, login.Token.Value, login.Token.Lifetime)
	return httpserver.Success(c, http.StatusOK, nil)
}
