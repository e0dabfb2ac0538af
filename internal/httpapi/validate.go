package httpapi

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-playground/validator/v10"

	"latchkey/internal/auth"
	"latchkey/internal/user"
)

// rules checks requests by their tags. The rules for an address, a name and a
// password are those of the packages that own them: validator's own email rule
// takes addresses that read as two, and its max counts characters only.
var rules = newRules()

func newRules() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		return name
	})
	v.RegisterAlias("new_password", fmt.Sprintf("min=%d,max=%d", auth.MinPasswordLength, auth.MaxPasswordLength))
	v.RegisterAlias("any_password", fmt.Sprintf("max=%d", auth.MaxPasswordLength))
	for tag, parse := range map[string]func(string) error{
		"address":     func(s string) error { _, err := user.ParseEmail(s); return err },
		"person_name": func(s string) error { _, err := user.ParseName(s); return err },
	} {
		err := v.RegisterValidation(tag, func(f validator.FieldLevel) bool { return parse(f.Field().String()) == nil })
		if err != nil {
			panic(err)
		}
	}
	return v
}

// check applies the tags of a request.
func check(in any) error {
	err := rules.Struct(in)
	if err == nil {
		return nil
	}
	var broken validator.ValidationErrors
	if !errors.As(err, &broken) {
		return err
	}
	fields := make([]fieldError, len(broken))
	for i, b := range broken {
		fields[i] = describe(b)
	}
	return invalidFields(fields...)
}

func describe(b validator.FieldError) fieldError {
	f := fieldError{Field: b.Field()}
	switch b.ActualTag() {
	case "required":
		f.Code, f.Message = "required", "is missing"
	case "address":
		f.Code, f.Message = "invalid_email", "must be an email address"
	case "person_name":
		f.Code, f.Message = "invalid_name", fmt.Sprintf("must be 1 to %d characters without control characters", user.MaxNameLength)
	case "min":
		f.Code, f.Message = "too_short", fmt.Sprintf("must be at least %s characters", b.Param())
	case "max":
		f.Code, f.Message = "too_long", fmt.Sprintf("must be at most %s characters", b.Param())
	default:
		f.Code, f.Message = "invalid", "is not valid"
	}
	return f
}
