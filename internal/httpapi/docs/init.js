// The session cookie is HttpOnly: the browser keeps it and sends it, and a
// request tried here is signed in once register or login was tried.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  tryItOutEnabled: true,
});
