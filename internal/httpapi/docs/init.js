// The browser keeps the session cookie and sends it with requests, although no script can
// read it. After a login on this page, the other requests are signed in, too.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  tryItOutEnabled: true,
});
