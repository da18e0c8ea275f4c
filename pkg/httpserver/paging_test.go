package httpserver

import (
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
)

func asking(query string) echo.Context {
	r := httptest.NewRequest(http.MethodGet, "/?"+query, nil)
	return echo.New().NewContext(r, httptest.NewRecorder())
}

func TestPage(t *testing.T) {
	t.Parallel()
	t.Run("comes from the query", func(t *testing.T) {
		t.Parallel()
		for query, want := range map[string]Page{
			"":                            {1, 15},
			"page=3&limit=20":             {3, 20},
			"page=0&limit=0":              {1, 15},
			"page=-1&limit=-1":            {1, 15},
			"page=x&limit=1e3":            {1, 15},
			"limit=100":                   {1, 100},
			"limit=101":                   {1, 100},
			"page=9223372036854775807":    {math.MaxInt32, 15},
			"page=99999999999999999999":   {1, 15},
			"page=2147483647&limit=10000": {math.MaxInt32, 100},
		} {
			got := PageOf(asking(query))
			require.Equal(t, want, got, query)
			require.GreaterOrEqual(t, got.Offset(), 0, query)
		}
		require.Equal(t, 40, Page{3, 20}.Offset())
	})

	t.Run("describes itself", func(t *testing.T) {
		t.Parallel()
		for name, tt := range map[string]struct {
			page         Page
			total, count int
			want         Paginator
		}{
			"nothing":          {Page{1, 15}, 0, 0, Paginator{0, 0, 15, 1, 0, false, false}},
			"the only page":    {Page{1, 15}, 15, 15, Paginator{15, 15, 15, 1, 1, false, false}},
			"the first of two": {Page{1, 15}, 16, 15, Paginator{16, 15, 15, 1, 2, true, false}},
			"the last of two":  {Page{2, 15}, 16, 1, Paginator{16, 1, 15, 2, 2, false, true}},
			"behind the last":  {Page{9, 15}, 16, 0, Paginator{16, 0, 15, 9, 2, false, true}},
		} {
			require.Equal(t, tt.want, tt.page.Paginator(tt.total, tt.count), name)
		}
	})
}

func TestIDs(t *testing.T) {
	t.Parallel()
	const a, b = "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058"
	for query, want := range map[string][]string{
		"":                                 nil,
		"ids=":                             nil,
		"ids=" + a:                         {a},
		"ids=" + a + "," + b:               {a, b},
		"ids=" + a + "&ids=" + b:           {a, b},
		"ids[]=" + a + "&ids[]=" + b:       {a, b},
		"ids%5B%5D=" + a + "&ids=+" + b:    {b, a},
		"ids=" + strings.ToUpper(a) + ",,": {a},
	} {
		got, err := IDs(asking(query), "ids", errBody)
		require.NoError(t, err, query)
		require.Equal(t, want, got, query)
	}
	for _, query := range []string{"ids=1", "ids=" + a + ",x", "ids[]=" + strings.Repeat(a+",", 101)} {
		_, err := IDs(asking(query), "ids", errBody)
		require.ErrorIs(t, err, errBody, query)
	}
}
