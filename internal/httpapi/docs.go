package httpapi

import (
	"embed"
	"mime"
	"net/http"
	"path"

	"github.com/go-chi/chi/v5"
	swagger "github.com/swaggest/swgui/v5/static"
	"github.com/vearutop/statigz"
)

// openAPI is the contract, written by hand; a test holds it and the router
// together. postman is the collection to try it with.
var (
	//go:embed docs/openapi.json
	openAPI []byte
	//go:embed docs/postman.json
	postman []byte
	//go:embed docs/index.html docs/init.js docs/page.css
	docsPage embed.FS
)

// swaggerFiles are the files of Swagger UI that the page uses, served from here:
// the page works without the internet, and no third party sees who reads it.
var swaggerFiles = statigz.FileServer(swagger.FS)

// docsPolicy lets the page run its own scripts and call this server. Swagger UI
// sets styles from scripts and draws its icons from data URLs.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// document answers with one of the JSON documents.
func document(body []byte) handler {
	return func(w http.ResponseWriter, _ *http.Request) error {
		writeBody(w, http.StatusOK, "application/json; charset=utf-8", body)
		return nil
	}
}

// docs answers GET /docs: the page that shows the OpenAPI document.
func (s *Server) docs(w http.ResponseWriter, _ *http.Request) error {
	page, err := docsPage.ReadFile("docs/index.html")
	if err != nil {
		return err
	}
	w.Header().Set("Content-Security-Policy", docsPolicy)
	w.Header().Set("Cross-Origin-Opener-Policy", "same-origin")
	writeBody(w, http.StatusOK, "text/html; charset=utf-8", page)
	return nil
}

// docsAsset answers GET /docs/*: the scripts and styles of the page.
func (s *Server) docsAsset(w http.ResponseWriter, r *http.Request) error {
	name := chi.URLParam(r, "*")
	switch name {
	case "init.js", "page.css":
		body, err := docsPage.ReadFile(path.Join("docs", name))
		if err != nil {
			return err
		}
		w.Header().Set("Cache-Control", "no-cache")
		writeBody(w, http.StatusOK, mime.TypeByExtension(path.Ext(name)), body)
	case "swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png":
		w.Header().Set("Cache-Control", "max-age=86400")
		http.StripPrefix("/docs", swaggerFiles).ServeHTTP(w, r)
	default:
		return errNoRoute
	}
	return nil
}
