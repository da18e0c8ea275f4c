package usecase_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication/usecase"
)

func TestNewNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(*usecase.Deps){
		"Tx":        func(d *usecase.Deps) { d.Tx = nil },
		"Users":     func(d *usecase.Deps) { d.Users = nil },
		"Codes":     func(d *usecase.Deps) { d.Codes = nil },
		"Passwords": func(d *usecase.Deps) { d.Passwords = nil },
		"Tokens":    func(d *usecase.Deps) { d.Tokens = nil },
		"Trials":    func(d *usecase.Deps) { d.Trials = nil },
		"Events":    func(d *usecase.Deps) { d.Events = nil },
		"Clock":     func(d *usecase.Deps) { d.Clock = nil },
		"CodeKey":   func(d *usecase.Deps) { d.CodeKey = nil },
	} {
		require.PanicsWithValue(t, "authentication/usecase: Deps."+name+" is missing", func() { newFixture(t, remove) })
	}
	require.Panics(t, func() { usecase.NewCodeMailSender(nil, nil) })
	require.Panics(t, func() { usecase.NewPromoter(nil, nil, nil) })
}
