package main

// collection returns the whole collection. The order matters: requests use the cookies
// and the variables that earlier ones left.
func collection() collectionJSON {
	folders := []folder{
		health,
		documents,
		signedOut,
		registration,
		currentSession,
		loginAndLogout,
		devicesAndLimits,
		emailVerification,
		stepUp,
		passwordChange,
		passwordReset,
		emailChange,
		linkedAccounts,
		activity,
		secondFactors,
		accountDeletion,
	}

	out := collectionJSON{
		Info: infoJSON{
			ID:          "6f1f7c2e-5d0c-4d57-9f0a-6c1f2b1f7a10",
			Name:        "Latchkey",
			Schema:      "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
			Description: about,
		},
		Variables: variables,
		Events:    events(nil, []script{checkEveryResponse}),
	}
	for _, f := range folders {
		out.Folders = append(out.Folders, f.json())
	}

	return out
}

const about = "Run this collection from top to bottom against a running server. It checks every response. " +
	"Each run registers a new account and deletes it at the end, so you can run it as often as you like.\n\n" +
	"Postman keeps the session cookie in its jar. If the server sets Secure cookies, change `cookieName` to `__Host-sid`.\n\n" +
	"Some requests need a link from an email. `mailUrl` is the outbox of `go run ./cmd/dev`, which listens on the port after the API's. " +
	"If the server sends real emails, set `mailUrl` to an empty string to skip these requests."

var variables = []variableJSON{
	{Key: "baseUrl", Value: "http://localhost:3000"},
	{Key: "mailUrl", Value: "http://localhost:3001/mail.json"},
	{Key: "cookieName", Value: "sid"},
	{Key: "email"},
	{Key: "password", Value: "correct horse battery"},
	{Key: "newPassword", Value: "purple monkey dishwasher"},
	{Key: "currentPassword", Value: "correct horse battery"},
	{Key: "newEmail"},
	{Key: "userId"},
	{Key: "sessionId"},
	{Key: "token"},
	{Key: "otherToken"},
	{Key: "authenticatedAt"},
	{Key: "linkToken"},
	{Key: "oldLinkToken"},
	{Key: "mailId"},
	{Key: "mailAt"},
	{Key: "answer"},
	{Key: "factorId"},
	{Key: "totpSecret"},
	{Key: "code"},
	{Key: "recoveryCodes"},
	{Key: "recoveryCode"},
	{Key: "deviceId"},
	{Key: "eventId"},
	{Key: "eventIdBefore"},
	{Key: "tries", Value: "0"},
}

// checkEveryResponse runs after each request. Only the documents may be cached, and emails
// do not come from the API.
const checkEveryResponse = script(`const base = pm.variables.get('baseUrl');
const url = pm.request.url.toString();
if (url.startsWith(base + '/')) {
  if (!/^\/(docs|openapi\.json|postman\.json|client\.)/.test(url.slice(base.length))) {
    pm.test('must not be cached', () => pm.expect(pm.response.headers.get('Cache-Control')).to.eql('no-store'));
  }
  pm.test('has a request ID', () => pm.expect(pm.response.headers.get('X-Request-Id')).to.be.a('string').and.not.empty);
  if (pm.response.code >= 400) {
    pm.test('failure is a problem document', () => {
      pm.expect(pm.response.headers.get('Content-Type')).to.include('application/problem+json');
      const problem = pm.response.json();
      pm.expect(problem.status).to.eql(pm.response.code);
      pm.expect(problem.message).to.be.a('string').and.not.empty;
      pm.expect(problem.message).to.eql(problem.detail);
      pm.expect(problem.code).to.match(/^[a-z_]+$/);
    });
  }
}`)
