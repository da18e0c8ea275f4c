package usecase_test

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication/usecase"
)

func TestNew(t *testing.T) {
	t.Parallel()
	for i := range reflect.TypeFor[usecase.Deps]().NumField() {
		field := reflect.TypeFor[usecase.Deps]().Field(i).Name
		t.Run("names what is missing: "+field, func(t *testing.T) {
			t.Parallel()
			require.PanicsWithValue(t, "authentication/usecase: Deps."+field+" is missing", func() {
				newFixture(t, func(d *usecase.Deps) { reflect.ValueOf(d).Elem().Field(i).SetZero() })
			})
		})
	}
	for name, construct := range map[string]func(){
		"CodeMailSenderDeps.Codes": func() { usecase.NewCodeMailSender(usecase.CodeMailSenderDeps{}) },
		"PromoterDeps.Tx":          func() { usecase.NewPromoter(usecase.PromoterDeps{}) },
	} {
		t.Run("names what is missing: "+name, func(t *testing.T) {
			t.Parallel()
			require.PanicsWithValue(t, "authentication/usecase: "+name+" is missing", construct)
		})
	}
}
