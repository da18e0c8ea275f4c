package httpserver_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/apperror"
	"github.com/smap-platform/identity/pkg/httpserver"
)

func TestWording(t *testing.T) {
	t.Parallel()
	refused := apperror.New(apperror.Invalid, 20001, "The request is not valid").WithFields(map[string]string{
		"items": "must have 1 to 1000 items", "email": "is required", "other": "has no translation",
	})
	e := httpserver.New(httpserver.Options{
		Log: zerolog.Nop(),
		Wordings: map[string]httpserver.Wording{"vi": {
			"The request is not valid": "Yêu cầu không hợp lệ", "must have # to # items": "phải có từ # đến # mục",
			"is required": "là bắt buộc", "Not Found": "Không tìm thấy", "Internal server error": "Lỗi máy chủ",
		}},
	})
	e.GET("/refused", func(echo.Context) error { return refused })
	e.GET("/broken", func(echo.Context) error { return http.ErrNoCookie })
	e.GET("/fine", func(c echo.Context) error { return httpserver.Success(c, http.StatusOK, nil) })

	for name, tc := range map[string]struct{ path, lang, accept, want string }{
		"a domain's error": {"/refused", "vi", "", `{"error_code":20001,"message":"Yêu cầu không hợp lệ","errors":{
			"items":"phải có từ 1 đến 1000 mục","email":"là bắt buộc","other":"has no translation"}}`},
		"by the browser's preference": {"/missing", "", "vi-VN,vi;q=0.9", `{"error_code":404,"message":"Không tìm thấy"}`},
		"the header first":            {"/missing", "en", "vi", `{"error_code":404,"message":"Not Found"}`},
		"a defect":                    {"/broken", "vi", "", `{"error_code":500,"message":"Lỗi máy chủ"}`},
		"success":                     {"/fine", "vi", "", `{"error_code":0,"message":"Success"}`},
		"the shared error afterwards": {"/refused", "", "", `{"error_code":20001,"message":"The request is not valid","errors":{
			"items":"must have 1 to 1000 items","email":"is required","other":"has no translation"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, tc.path, nil)
			r.Header.Set("lang", tc.lang)
			r.Header.Set("Accept-Language", tc.accept)
			w := httptest.NewRecorder()
			e.ServeHTTP(w, r)
			require.JSONEq(t, tc.want, w.Body.String())
			require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		})
	}
}
