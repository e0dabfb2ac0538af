package httpapi

import (
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/swaggest/jsonschema-go"
	"github.com/swaggest/openapi-go/openapi31"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// newReflector returns a reflector that knows how this package writes its types: what
// encoding/json omits is optional, the rules of requests are in validate tags, and no
// object has undocumented members.
func newReflector(minPassword int) *openapi31.Reflector {
	r := openapi31.NewReflector()
	r.AddTypeMapping(user.Email(""), "")

	r.DefaultOptions = append(r.DefaultOptions,
		jsonschema.InterceptDefName(func(t reflect.Type, _ string) string { return schemaName(t) }),
		jsonschema.InterceptNullability(func(p jsonschema.InterceptNullabilityParams) {
			p.Schema.RemoveType(jsonschema.Null)
		}),
		jsonschema.InterceptSchema(describeType),
		jsonschema.InterceptProp(func(p jsonschema.InterceptPropParams) error {
			return describeMember(p, minPassword)
		}),
	)

	return r
}

// schemaName returns the name of the schema of a type.
func schemaName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[user.View]():
		return "User"
	case reflect.TypeFor[activity.Name]():
		return "EventName"
	case reflect.TypeFor[session.Reason]():
		return "SessionEndReason"
	}

	return strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
}

// describeType completes the schema of a type.
func describeType(p jsonschema.InterceptSchemaParams) (stop bool, err error) {
	if !p.Processed {
		return false, nil
	}

	t := p.Value.Type()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}

	switch t {
	case reflect.TypeFor[activity.Name]():
		p.Schema.WithEnum(anySlice(activity.Names)...)
	case reflect.TypeFor[session.Reason]():
		p.Schema.WithEnum(anySlice(session.Reasons)...)
	case reflect.TypeFor[auth.FactorKind]():
		p.Schema.WithEnum(auth.TOTPFactor, auth.RecoveryCodeFactor)
	case reflect.TypeFor[storeState]():
		p.Schema.WithEnum(storeOK, storeUnavailable)
	}

	switch t {
	case reflect.TypeFor[profileRequest](), reflect.TypeFor[completeLoginRequest](), reflect.TypeFor[stepUpRequest]():
		p.Schema.WithMinProperties(1)
	}

	// Programs that read problems should ignore members that they do not know (RFC 9457).
	closed := t.Kind() == reflect.Struct && t != reflect.TypeFor[problem]() && p.Context.PropertyNameTag == "json"
	if closed && p.Schema.HasType(jsonschema.Object) {
		p.Schema.WithAdditionalProperties(jsonschema.SchemaOrBool{TypeBoolean: new(bool)})
	}

	return false, nil
}

func anySlice[T any](values []T) []any {
	all := make([]any, len(values))
	for i, v := range values {
		all[i] = v
	}

	return all
}

// describeMember completes the schema of a member of an object from the tags by which the
// server encodes and checks it. minPassword is the minimum length of new passwords.
func describeMember(p jsonschema.InterceptPropParams, minPassword int) error {
	if !p.Processed || p.Context.PropertyNameTag != "json" {
		return nil
	}

	if p.Field.Type == reflect.TypeFor[time.Time]() {
		p.PropertySchema.WithPattern("Z$")
	}

	_, options, _ := strings.Cut(p.Field.Tag.Get("json"), ",")
	validate, checked := p.Field.Tag.Lookup("validate")
	required := !strings.Contains(options, "omit")

	if checked {
		required = false
	}
	for _, rule := range strings.Split(validate, ",") {
		name, value, _ := strings.Cut(rule, "=")
		switch name {
		case "required":
			required = true
			p.PropertySchema.WithMinLength(1)
		case "required_without", "required_without_all":
			p.PropertySchema.WithMinLength(1)
		case "max":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return err
			}
			p.PropertySchema.WithMaxLength(n)
		case "canonical_email":
			p.PropertySchema.WithFormat("idn-email").WithMaxLength(user.MaxEmailLength)
		case "canonical_name":
			p.PropertySchema.WithMinLength(1).WithMaxLength(user.MaxNameLength)
		case "canonical_locale":
			p.PropertySchema.WithMinLength(1)
		case "any_password":
			p.PropertySchema.WithFormat("password").WithMaxLength(auth.MaxPasswordLength)
		case "new_password":
			p.PropertySchema.WithFormat("password").WithMinLength(int64(minPassword)).WithMaxLength(auth.MaxPasswordLength)
		}
	}

	if required {
		p.ParentSchema.Required = append(p.ParentSchema.Required, p.Name)
	}

	return nil
}
