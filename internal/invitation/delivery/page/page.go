// Package page serves the two pages that invitations need where no front end has them: one to accept an invitation, and
// one for the administrator who watches how far a batch is. Both call the public HTTP API, as a front end does, with the
// cookies that it sets; they know nothing else. Token and project are in the fragment of the address, which browsers send
// to no server.
package page

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"path"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/pkg/httpserver"
)

//go:embed files
var files embed.FS

// The pages. What they need is below [Accept].
const (
	Accept   = "/accept-invitation"
	Progress = "/invitation-progress"
)

// policy lets a page run its own script and call its own host; nobody may put it in a frame.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Register registers the pages.
func Register(g *echo.Group) {
	pages := template.Must(template.ParseFS(files, "files/*.tmpl"))
	for route, name := range map[string]string{Accept: "accept", Progress: "progress"} {
		g.GET(route, func(c echo.Context) error {
			locale := httpserver.Locale(c.Request())
			var b bytes.Buffer
			if err := pages.ExecuteTemplate(&b, name, texts(locale)); err != nil {
				return err
			}
			h := c.Response().Header()
			h.Set(echo.HeaderContentSecurityPolicy, policy)
			h.Add(echo.HeaderVary, "Accept-Language")
			return c.HTMLBlob(http.StatusOK, b.Bytes())
		})
	}
	for name, kind := range map[string]string{"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"} {
		content, err := files.ReadFile(path.Join("files", name))
		if err != nil {
			panic(err) // it is embedded
		}
		g.GET(Accept+"/"+name, func(c echo.Context) error { return c.Blob(http.StatusOK, kind, content) })
	}
}

// texts returns what the pages say in a locale, English where it is not known.
func texts(locale string) map[string]string {
	if locale == "vi" {
		return map[string]string{
			"lang": "vi", "title": "Nhận lời mời", "intro": "Chọn mật khẩu để kích hoạt tài khoản của bạn.",
			"token": "Mã mời trong thư", "password": "Mật khẩu mới", "accept": "Nhận lời mời",
			"done":     "Tài khoản của bạn đã được kích hoạt và bạn đã đăng nhập.",
			"noscript": "Trang này cần JavaScript.", "progress": "Tiến độ gửi lời mời", "project": "Mã dự án",
			"watch": "Xem", "bar": "Lời mời đã gửi", "of": "trên", "sent": "đã gửi", "failed": "không gửi được",
			"finished": "Đã xong.", "lost": "Mất kết nối; đang thử lại.", "down": "Không kết nối được với máy chủ; hãy thử lại.",
		}
	}
	return map[string]string{
		"lang": "en", "title": "Accept your invitation", "intro": "Choose a password, and your account is active.",
		"token": "Token in the mail", "password": "New password", "accept": "Accept",
		"done":     "Your account is active, and you are logged in.",
		"noscript": "This page needs JavaScript.", "progress": "Progress of your invitations", "project": "Project",
		"watch": "Watch", "bar": "Invitations sent", "of": "of", "sent": "sent", "failed": "could not be sent",
		"finished": "Done.", "lost": "Connection lost; trying again.", "down": "The server cannot be reached; try again.",
	}
}
