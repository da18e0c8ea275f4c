package http

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// Directory are the use cases behind the routes below /users.
type Directory interface {
	List(ctx context.Context, actor authentication.Actor, f authentication.UserFilter) ([]authentication.User, int, error)
	Find(ctx context.Context, actor authentication.Actor, id string) (authentication.User, error)
	FindForService(ctx context.Context, id string) (authentication.User, error)
	UpdateProfile(ctx context.Context, user authentication.User, p authentication.Profile) (authentication.User, error)
}

type users struct{ directory Directory }

// RegisterUsers puts the routes of people below /users on g. authenticated is [Authenticate].
func RegisterUsers(g *echo.Group, d Directory, authenticated echo.MiddlewareFunc) {
	u := users{d}
	g.GET("/users/me", u.me, authenticated)
	g.PUT("/users/me", u.updateMe, authenticated)
	g.GET("/users", u.list, authenticated)
	g.GET("/users/page", u.page, authenticated)
	g.GET("/users/:id", u.find, authenticated)
}

// RegisterInternal puts the routes of other services on g. The middleware internal must admit these only.
func RegisterInternal(g *echo.Group, d Directory, internal echo.MiddlewareFunc) {
	g.GET("/users/internal/:id", users{d}.findForService, internal)
}

func (u users) me(c echo.Context) error {
	caller, err := callerOf(c)
	if err != nil {
		return err
	}
	return httpserver.Success(c, http.StatusOK, presentAccount(caller.User))
}

func (u users) updateMe(c echo.Context) error {
	caller, err := callerOf(c)
	if err != nil {
		return err
	}
	var r struct {
		FullName  optional `json:"full_name"`
		AvatarURL optional `json:"avatar_url"`
	}
	if err := httpserver.Bind(c, &r, authentication.ErrProfile); err != nil {
		return err
	}
	return respondUser(c)(u.directory.UpdateProfile(c.Request().Context(), caller.User, authentication.Profile{
		FullName:  r.FullName.text,
		AvatarURL: r.AvatarURL.text,
	}))
}

type listResponse struct {
	Users    []accountResponse     `json:"users"`
	Metadata *httpserver.Paginator `json:"metadata,omitempty"`
}

// list is page without metadata.
func (u users) list(c echo.Context) error {
	found, _, err := u.read(c)
	if err != nil {
		return err
	}
	return httpserver.Success(c, http.StatusOK, listResponse{Users: found})
}

func (u users) page(c echo.Context) error {
	found, metadata, err := u.read(c)
	if err != nil {
		return err
	}
	return httpserver.Success(c, http.StatusOK, listResponse{found, &metadata})
}

// read returns the users that the query asks for. Those that it names are not cut off at the default of a page.
func (u users) read(c echo.Context) ([]accountResponse, httpserver.Paginator, error) {
	actor, err := actorOf(c)
	if err != nil {
		return nil, httpserver.Paginator{}, err
	}
	ids, err := httpserver.IDs(c, "ids", authentication.ErrUserID)
	if err != nil {
		return nil, httpserver.Paginator{}, err
	}
	page := httpserver.PageOf(c)
	if c.QueryParam("limit") == "" {
		page.Limit = max(page.Limit, len(ids))
	}
	found, total, err := u.directory.List(c.Request().Context(), actor, authentication.UserFilter{
		IDs:    ids,
		Limit:  page.Limit,
		Offset: page.Offset(),
	})
	if err != nil {
		return nil, httpserver.Paginator{}, err
	}
	presented := make([]accountResponse, len(found))
	for i, user := range found {
		presented[i] = presentAccount(user)
	}
	return presented, page.Paginator(total, len(found)), nil
}

func (u users) find(c echo.Context) error {
	actor, err := actorOf(c)
	if err != nil {
		return err
	}
	id, err := userID(c)
	if err != nil {
		return err
	}
	return respondUser(c)(u.directory.Find(c.Request().Context(), actor, id))
}

func (u users) findForService(c echo.Context) error {
	id, err := userID(c)
	if err != nil {
		return err
	}
	return respondUser(c)(u.directory.FindForService(c.Request().Context(), id))
}

func userID(c echo.Context) (string, error) {
	id, err := uuid.Parse(c.Param("id"))
	if err != nil {
		return "", authentication.ErrUserID
	}
	return id.String(), nil
}

func actorOf(c echo.Context) (authentication.Actor, error) {
	caller, err := callerOf(c)
	if err != nil {
		return authentication.Actor{}, err
	}
	return authentication.Actor{UserID: caller.User.ID, Admin: caller.User.Role == authentication.RoleAdmin}, nil
}

// optional is a text field of a request. Absent it is nil; null is the empty text.
type optional struct{ text *string }

// UnmarshalJSON implements json.Unmarshaler.
func (o *optional) UnmarshalJSON(raw []byte) error {
	o.text = new(string)
	return json.Unmarshal(raw, o.text) // which leaves it empty for null
}

// accountResponse is a user in the responses below /users. Times are RFC 3339 in UTC.
type accountResponse struct {
	ID        string `json:"id"`
	Username  string `json:"username"`
	FullName  string `json:"full_name,omitempty"`
	AvatarURL string `json:"avatar_url,omitempty"`
	Role      string `json:"role"`
	IsActive  bool   `json:"is_active"`
	// DisabledAt is when an administrator took the account out of use; then it is not active.
	DisabledAt *time.Time `json:"disabled_at,omitempty"`
	CreatedAt  time.Time  `json:"created_at"`
	UpdatedAt  time.Time  `json:"updated_at"`
}

func presentAccount(u authentication.User) accountResponse {
	response := accountResponse{
		ID:        u.ID,
		Username:  u.Email,
		FullName:  u.FullName,
		AvatarURL: u.AvatarURL,
		Role:      string(u.Role),
		IsActive:  u.Admitted(),
		CreatedAt: u.CreatedAt,
		UpdatedAt: u.UpdatedAt,
	}
	if u.Disabled() {
		response.DisabledAt = &u.DisabledAt
	}
	return response
}

// respondUser returns a function that responds with the result of a verb.
func respondUser(c echo.Context) func(authentication.User, error) error {
	return func(user authentication.User, err error) error {
		if err != nil {
			return err
		}
		return httpserver.Success(c, http.StatusOK, presentAccount(user))
	}
}
