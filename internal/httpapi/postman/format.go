package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// The types below are the parts of the Postman Collection Format v2.1.0 that the
// collection uses (https://schema.postman.com/collection/json/v2.1.0/).
type (
	collectionJSON struct {
		Info      infoJSON       `json:"info"`
		Variables []variableJSON `json:"variable"`
		Events    []eventJSON    `json:"event"`
		Folders   []folderJSON   `json:"item"`
	}

	infoJSON struct {
		ID          string `json:"_postman_id"`
		Name        string `json:"name"`
		Schema      string `json:"schema"`
		Description string `json:"description"`
	}

	variableJSON struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}

	folderJSON struct {
		Name        string      `json:"name"`
		Description string      `json:"description,omitempty"`
		Events      []eventJSON `json:"event,omitempty"`
		Items       []itemJSON  `json:"item"`
	}

	itemJSON struct {
		Name     string        `json:"name"`
		Events   []eventJSON   `json:"event"`
		Request  requestJSON   `json:"request"`
		Behavior *behaviorJSON `json:"protocolProfileBehavior,omitempty"`
	}

	behaviorJSON struct {
		DisableCookies bool `json:"disableCookies"`
	}

	eventJSON struct {
		Listen string     `json:"listen"`
		Script scriptJSON `json:"script"`
	}

	scriptJSON struct {
		Type string   `json:"type"`
		Exec []string `json:"exec"`
	}

	requestJSON struct {
		Method      string         `json:"method"`
		Headers     []variableJSON `json:"header"`
		URL         urlJSON        `json:"url"`
		Body        *bodyJSON      `json:"body,omitempty"`
		Description string         `json:"description,omitempty"`
	}

	urlJSON struct {
		Raw   string         `json:"raw"`
		Host  []string       `json:"host"`
		Path  []string       `json:"path,omitempty"`
		Query []variableJSON `json:"query,omitempty"`
	}

	bodyJSON struct {
		Mode    string      `json:"mode"`
		Raw     string      `json:"raw"`
		Options optionsJSON `json:"options"`
	}

	optionsJSON struct {
		Raw struct {
			Language string `json:"language"`
		} `json:"raw"`
	}
)

// encode returns the collection as indented JSON.
func encode(c collectionJSON) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")

	err := encoder.Encode(c)
	return b.Bytes(), err
}

// folder is a group of requests.
type folder struct {
	name        string
	description string
	before      []script // runs before each request
	requests    []request
}

// request is a request with the checks of its response.
type request struct {
	name        string
	route       string // "METHOD /path?query" of the API, or "METHOD {{url}}"
	description string
	headers     []header
	body        []field // a JSON object; none sends no body

	// withoutCookies neither sends the cookies of the jar nor stores the received ones.
	withoutCookies bool

	before []script
	checks []script
}

type header struct{ name, value string }

type field struct {
	name  string
	value any
}

func (f folder) json() folderJSON {
	out := folderJSON{
		Name:        f.name,
		Description: f.description,
		Events:      events(f.before, nil),
	}
	for _, r := range f.requests {
		out.Items = append(out.Items, r.json())
	}

	return out
}

func (r request) json() itemJSON {
	method, target, found := strings.Cut(r.route, " ")
	if !found {
		panic(fmt.Sprintf("the route %q has no method", r.route))
	}

	out := itemJSON{
		Name:   r.name,
		Events: events(r.before, r.checks),
		Request: requestJSON{
			Method:      method,
			Headers:     []variableJSON{},
			URL:         parseURL(target),
			Body:        jsonBody(r.body),
			Description: r.description,
		},
	}
	for _, h := range r.headers {
		out.Request.Headers = append(out.Request.Headers, variableJSON{Key: h.name, Value: h.value})
	}
	if r.withoutCookies {
		out.Behavior = &behaviorJSON{DisableCookies: true}
	}

	return out
}

// events returns the scripts that run before a request and after its response.
func events(before, after []script) []eventJSON {
	var out []eventJSON
	if len(before) > 0 {
		out = append(out, eventJSON{Listen: "prerequest", Script: newScript(before)})
	}
	if len(after) > 0 {
		out = append(out, eventJSON{Listen: "test", Script: newScript(after)})
	}

	return out
}

func newScript(scripts []script) scriptJSON {
	var lines []string
	for _, s := range scripts {
		lines = append(lines, strings.Split(string(s), "\n")...)
	}

	return scriptJSON{Type: "text/javascript", Exec: lines}
}

// parseURL splits a URL the way Postman does. A path belongs to the API.
func parseURL(target string) urlJSON {
	if !strings.HasPrefix(target, "/") {
		return urlJSON{Raw: target, Host: []string{target}}
	}

	path, query, _ := strings.Cut(target, "?")
	out := urlJSON{
		Raw:  "{{baseUrl}}" + target,
		Host: []string{"{{baseUrl}}"},
		Path: strings.Split(path[1:], "/"),
	}
	if query != "" {
		for pair := range strings.SplitSeq(query, "&") {
			key, value, _ := strings.Cut(pair, "=")
			out.Query = append(out.Query, variableJSON{Key: key, Value: value})
		}
	}

	return out
}

// jsonBody returns an indented JSON object that keeps the order of the fields.
func jsonBody(fields []field) *bodyJSON {
	if fields == nil {
		return nil
	}

	var lines []string
	for _, f := range fields {
		value, err := json.Marshal(f.value)
		if err != nil {
			panic(err)
		}
		lines = append(lines, fmt.Sprintf("  %q: %s", f.name, value))
	}

	out := &bodyJSON{Mode: "raw", Raw: "{\n" + strings.Join(lines, ",\n") + "\n}"}
	out.Options.Raw.Language = "json"

	return out
}
