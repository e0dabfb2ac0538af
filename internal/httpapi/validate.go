package httpapi

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/go-playground/validator/v10"

	"latchkey/internal/auth"
	"latchkey/internal/locale"
	"latchkey/internal/user"
)

// newRules returns a validator for the rules in the tags of requests. The rules for emails and
// names are in package user: validator's own email rule accepts ambiguous emails. minPassword is
// the minimum length of new passwords in characters. languages are those that accounts may have.
func newRules(minPassword int, languages *locale.Set) *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		return name
	})
	v.RegisterAlias("new_password", fmt.Sprintf("min=%d,max=%d", minPassword, auth.MaxPasswordLength))
	v.RegisterAlias("any_password", fmt.Sprintf("max=%d", auth.MaxPasswordLength))

	// These rules also store the canonical form in the field, so that each is parsed once.
	canonical := map[string]func(string) (string, error){
		"canonical_email": func(s string) (string, error) {
			email, err := user.ParseEmail(s)
			return string(email), err
		},
		"canonical_name": user.ParseName,
		"canonical_locale": func(s string) (string, error) {
			if languages.Match(s) == "" {
				return "", errUnsupportedLocale
			}

			return locale.Canonical(s), nil
		},
	}
	for tag, parse := range canonical {
		err := v.RegisterValidation(tag, func(f validator.FieldLevel) bool {
			parsed, err := parse(f.Field().String())
			if err != nil {
				return false
			}
			f.Field().SetString(parsed)

			return true
		})
		if err != nil {
			panic(err)
		}
	}

	return v
}

// errUnsupportedLocale is returned for a locale in whose language there are no texts.
var errUnsupportedLocale = errors.New("unsupported locale")

// check applies the rules in the tags of a request. It takes a pointer.
func check(rules *validator.Validate, in any) error {
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
		fields[i] = describeRule(b)
	}

	return invalidFields(fields...)
}

// describeRule describes the rule that a field breaks.
func describeRule(b validator.FieldError) fieldError {
	f := fieldError{Field: b.Field()}
	label := labelOf(f.Field)

	switch b.ActualTag() {
	case "required":
		f.Code = "required"
		f.Message = label + " is required."
	case "required_without", "required_without_all":
		f.Code = "required"
		f.Message = listFields(f.Field, b.Param(), " or ") + " is required."
	case "excluded_with":
		f.Code = "invalid"
		f.Message = listFields(f.Field, b.Param(), " and ") + " cannot be used together."
	case "canonical_email":
		f.Code = "invalid_email"
		f.Message = "Enter a valid email address."
	case "canonical_name":
		f.Code = "invalid_name"
		f.Message = describeName(label, fmt.Sprint(b.Value()))
	case "canonical_locale":
		f.Code = "unsupported_locale"
		f.Message = "This language is not available."
	case "min":
		f.Code = "too_short"
		f.Message = fmt.Sprintf("%s must be at least %s characters long.", label, b.Param())
	case "max":
		f.Code = "too_long"
		f.Message = fmt.Sprintf("%s must be at most %s characters long.", label, b.Param())
	default:
		f.Code = "invalid"
		f.Message = label + " is not valid."
	}

	return f
}

// listFields lists the names of a field and others for people. others are the names of the members in Go,
// separated by spaces.
func listFields(field, others, conjunction string) string {
	names := []string{labelOf(field)}
	for _, other := range strings.Fields(others) {
		member := strings.ToLower(other[:1]) + other[1:]
		names = append(names, strings.ToLower(labelOf(member)))
	}
	last := len(names) - 1

	return strings.Join(names[:last], ", ") + conjunction + names[last]
}

// describeName describes what is wrong with a name that user.ParseName refuses.
func describeName(label, name string) string {
	name = strings.TrimSpace(name)

	switch {
	case name == "":
		return label + " is required."
	case utf8.RuneCountInString(name) > user.MaxNameLength:
		return fmt.Sprintf("%s must be at most %d characters long.", label, user.MaxNameLength)
	}

	return label + " contains characters that are not allowed."
}

// labels are the names of fields for people.
var labels = map[string]string{
	"name":            "Name",
	"email":           "Email",
	"password":        "Password",
	"currentPassword": "Current password",
	"newPassword":     "New password",
	"locale":          "Language",
	"token":           "Token",
	"code":            "Code",
	"recoveryCode":    "Recovery code",
	"returnTo":        "Return URL",
}

// labelOf returns the name of a field for people.
func labelOf(field string) string {
	if label, ok := labels[field]; ok {
		return label
	}

	return fmt.Sprintf("The field %q", field)
}
