package api_test

import (
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/api"
	"github.com/smap-platform/identity/api/apitest"
	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/invitation"
	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/apperror"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/httpserver"
)

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	t.Run("is valid and complete", func(t *testing.T) {
		t.Parallel()
		apitest.New(t) // schemas, references and every example
		document := load(t)
		require.Equal(t, []string{"/", "/identity"}, []string{document.Servers[0].URL, document.Servers[1].URL})
		everyResponse(t, document, func(where string, status int, response *openapi3.Response) {
			require.Contains(t, response.Headers, "X-Request-ID", where)
			if status == http.StatusNoContent {
				require.Empty(t, response.Content, where)
				return
			}
			require.Len(t, response.Content, 1, where)
			for _, media := range response.Content {
				require.True(t, media.Example != nil || len(media.Examples) > 0 || media.Schema.Value.Type.Is("string"),
					"%s has no example", where)
			}
		})
	})

	t.Run("has the errors of the code", func(t *testing.T) {
		t.Parallel()
		inCode := map[clientError]bool{
			// Errors of the HTTP server, which belong to no domain.
			{413, 413, "The body is too large"}:                                                                   true,
			{429, 429, "Too many requests; try again in 6 seconds"}:                                               true,
			{415, 415, "Send JSON with Content-Type: application/json"}:                                           true,
			{401, 401, "Send the internal key as X-Internal-Key"}:                                                 true,
			{403, 403, "Pages of this origin may not do that: it is not one of CORS_ORIGINS"}:                     true,
			{415, 415, "Send a list with Content-Type: application/json, or a table with Content-Type: text/csv"}: true,
			{500, 500, "Internal server error"}:                                                                   true,
			{503, 503, http.StatusText(http.StatusServiceUnavailable)}:                                            true, // a failed health check
		}
		for _, e := range sentinels {
			inCode[clientError{httpserver.StatusOf(e.Kind), e.Code, e.Message}] = true
		}
		inContract := map[clientError]bool{}
		everyResponse(t, load(t), func(where string, status int, response *openapi3.Response) {
			for _, example := range examplesOf(response) {
				body := example.(map[string]any)
				code, message := int(body["error_code"].(float64)), body["message"].(string)
				if status < http.StatusBadRequest {
					require.Zero(t, code, where)
					continue
				}
				inContract[clientError{status, code, message}] = true
			}
		})
		require.Equal(t, inCode, inContract)
	})

	t.Run("refuses pages of other sites whatever changes something", func(t *testing.T) {
		t.Parallel()
		for path, item := range load(t).Paths.Map() {
			for method, operation := range item.Operations() {
				if !slices.Contains([]string{http.MethodGet, http.MethodHead}, method) {
					require.NotNil(t, operation.Responses.Status(http.StatusForbidden),
						"%s %s lacks: '403': {$ref: '#/components/responses/CrossSite'}", method, path)
				}
			}
		}
	})

	// A front-end developer finds an example for each code that a response may have.
	t.Run("shows every code", func(t *testing.T) {
		t.Parallel()
		everyResponse(t, load(t), func(where string, status int, response *openapi3.Response) {
			media := response.Content.Get("application/json")
			if media == nil || status < http.StatusBadRequest {
				return
			}
			shown := map[float64]bool{}
			for _, example := range examplesOf(response) {
				shown[example.(map[string]any)["error_code"].(float64)] = true
			}
			codes := codesOf(media.Schema.Value)
			require.NotEmpty(t, codes, "%s does not say which error_code", where)
			for _, code := range codes {
				require.True(t, shown[code.(float64)], "%s has no example for %v", where, code)
			}
		})
	})
}

// sentinels are the errors that reach clients with a code of their own. Several share a code that is the bare HTTP
// status; their messages tell them apart.
var sentinels = []*apperror.Error{
	authentication.ErrBody, authentication.ErrOtherBrowser,
	authentication.TryAgainIn(15 * time.Minute), authentication.ErrWrongPassword, authentication.ErrWrongCode,
	authentication.ErrAlreadyVerified, authentication.ErrCodeExpired, authentication.ErrTooManyTries,
	authentication.ErrNotVerified, authentication.ErrInvalidEmail, authentication.ErrUnauthenticated, authentication.ErrBusy,
	authentication.ErrSessionNotFound, authentication.ErrDisabled, authentication.ErrLastAdmin, audit.ErrQuery,
	authentication.ErrProfile, authentication.ErrNoUser, authentication.ErrUserID, authentication.ErrForbidden,
	subscription.ErrBody, subscription.ErrNotFound, subscription.ErrTimes, subscription.ErrOutdated, subscription.ErrInvalidID,
	subscription.ErrActiveExists, subscription.ErrStatus, subscription.ErrCannotCancel, subscription.ErrNoUser,
	subscription.ErrUserID, subscription.ErrForbidden, subscription.ErrPlanBody, subscription.ErrPlanNotFound,
	subscription.ErrPlanExists, subscription.ErrPlanID, subscription.ErrPlanInUse,
	database.ErrUnavailable,
	invitation.ErrBody, invitation.ErrForbidden, invitation.ErrUnauthenticated, invitation.ErrInvalid, invitation.ErrUsed,
	invitation.ErrExpired, invitation.ErrBatchNotFound, invitation.ErrUpload, invitation.ErrKeyReused,
	invitation.ErrTooManyUploads, invitation.ErrUploadsFull, project.ErrTooManyStreams,
	project.ErrBody, project.ErrNotFound, project.ErrFinal, project.ErrUnavailable,
}

// clientError is one error as the contract or the code has it.
type clientError struct {
	status, code int
	message      string
}

// codesOf returns the enum of error_code, in the schema or in a part of its allOf.
func codesOf(schema *openapi3.Schema) []any {
	if code := schema.Properties["error_code"]; code != nil && len(code.Value.Enum) > 0 {
		return code.Value.Enum
	}
	for _, part := range schema.AllOf {
		if codes := codesOf(part.Value); len(codes) > 0 {
			return codes
		}
	}
	return nil
}

func examplesOf(response *openapi3.Response) (examples []any) {
	media := response.Content.Get("application/json")
	if media == nil {
		return nil
	}
	if media.Example != nil {
		examples = append(examples, media.Example)
	}
	for _, example := range media.Examples {
		examples = append(examples, example.Value.Value)
	}
	return examples
}

func everyResponse(t *testing.T, document *openapi3.T, look func(where string, status int, response *openapi3.Response)) {
	t.Helper()
	for path, item := range document.Paths.Map() {
		for method, operation := range item.Operations() {
			for code, response := range operation.Responses.Map() {
				status, err := strconv.Atoi(code)
				require.NoError(t, err, "%s %s: every status is named", method, path)
				look(method+" "+path+" → "+code, status, response.Value)
			}
		}
	}
}

func load(t *testing.T) *openapi3.T {
	t.Helper()
	document, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	require.NoError(t, err)
	return document
}
