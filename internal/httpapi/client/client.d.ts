// Types of client.js.
// Generated from the OpenAPI document by internal/httpapi/client. Do not edit.

export declare function createClient(options?: ClientOptions): Client;

export interface ClientOptions {
  /** The URL of the API. The default is the directory of client.js. `''` is the origin of the page. */
  baseURL?: string | URL;
  /** Replaces the global fetch, which stores no cookies in Node. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
  /** Is called after each request that was not aborted. */
  onResponse?: (exchange: Exchange) => void;
}

/** Options that every method takes besides its arguments. */
export interface RequestOptions {
  /** Aborts the request, which then fails with the reason of the signal. */
  signal?: AbortSignal;
}

/** Options of the methods that change nothing. */
export interface ReadOptions extends RequestOptions {
  /**
   * Set it for requests that the user has not caused, such as polling. They do not extend the idle
   * timeout of the session.
   */
  background?: boolean;
}

/** A request and its response. */
export interface Exchange {
  operation: Operation;
  method: string;
  path: string;
  /** 0 if there was no response. */
  status: number;
  /** The body of the response, unless it was not JSON. */
  body: unknown;
  error?: LatchkeyError;
  milliseconds: number;
}

/**
 * A failed request.
 *
 *     try {
 *       await latchkey.login({ email, password });
 *     } catch (error) {
 *       if (!LatchkeyError.is(error, 'login')) throw error;
 *       switch (error.code) { ... }
 *     }
 */
export declare class LatchkeyError<O extends Operation = Operation> extends Error {
  /** Reports whether an error is a failure of an operation. */
  static is<O extends Operation>(error: unknown, operation: O): error is LatchkeyError<O>;

  readonly operation: O;
  /** The status of the response. 0 if there was none. */
  readonly status: number;
  /** What went wrong, for programs. `message` is for people. */
  readonly code: ErrorCodes[O];
  /** What is wrong with the fields of a form. Often empty. */
  readonly errors: FieldError[];
  /** After a 401: why the session ended, if that is known. */
  readonly reason?: SessionEndReason;
  /** After `step_up_required`: what the user has to confirm, all of it. */
  readonly methods?: ('pwd' | 'fed' | 'otp')[];
  /** After `step_up_required`: for how many seconds a confirmation counts. */
  readonly maxAge?: number;
  /** After `wrong_code`: the time of the server. The codes of a device with another time are wrong. */
  readonly serverTime?: string;
  /** Identifies the request in the log of the server. */
  readonly requestId?: string;
  /** How many seconds to wait before trying again. */
  readonly retryAfter?: number;
}

export type Operation = keyof ErrorCodes;

/**
 * The codes with which every operation can fail. `network_error` means that there was no response,
 * and `unexpected_response` that the response was not from the API. The others are codes of the API.
 */
export type CommonCode =
  | 'network_error'
  | 'unexpected_response'
  | 'internal'
  | 'body_too_large'
  | 'invalid_json'
  | 'overloaded'
  | 'too_many_headers'
  | 'unsupported_media_type'
  | 'validation_failed';

/** The codes with which each operation can fail. */
export interface ErrorCodes {
  register: CommonCode | 'cross_origin_denied' | 'email_domain_not_allowed' | 'email_taken' | 'invalid_token' | 'invitation_required' | 'registration_closed' | 'session_store_unavailable' | 'too_many_requests' | 'user_store_unavailable' | 'weak_password';
  login: CommonCode | 'cross_origin_denied' | 'invalid_credentials' | 'session_store_unavailable' | 'too_many_requests' | 'user_store_unavailable';
  pendingLogin: CommonCode | 'no_pending_login' | 'session_store_unavailable' | 'user_store_unavailable';
  completeLogin: CommonCode | 'cross_origin_denied' | 'factors_unavailable' | 'no_pending_login' | 'session_store_unavailable' | 'too_many_requests' | 'user_store_unavailable' | 'wrong_code';
  cancelLogin: CommonCode | 'cross_origin_denied' | 'session_store_unavailable';
  logout: CommonCode | 'cross_origin_denied' | 'not_authenticated' | 'session_store_unavailable';
  me: CommonCode | 'email_not_verified' | 'not_authenticated' | 'session_store_unavailable' | 'user_store_unavailable';
  session: CommonCode | 'not_authenticated' | 'session_store_unavailable';
  rotateSession: CommonCode | 'cross_origin_denied' | 'email_not_verified' | 'not_authenticated' | 'second_factor_required' | 'session_store_unavailable' | 'user_store_unavailable';
  listSessions: CommonCode | 'email_not_verified' | 'not_authenticated' | 'second_factor_required' | 'session_store_unavailable' | 'user_store_unavailable';
  revokeSessions: CommonCode | 'cross_origin_denied' | 'email_not_verified' | 'not_authenticated' | 'second_factor_required' | 'session_store_unavailable' | 'user_store_unavailable';
  revokeSession: CommonCode | 'cross_origin_denied' | 'email_not_verified' | 'not_authenticated' | 'not_found' | 'second_factor_required' | 'session_store_unavailable' | 'user_store_unavailable';
  listActivity: CommonCode | 'email_not_verified' | 'not_authenticated' | 'second_factor_required' | 'session_store_unavailable' | 'user_store_unavailable';
  stepUp: CommonCode | 'cross_origin_denied' | 'factors_unavailable' | 'no_factor' | 'no_password' | 'not_authenticated' | 'password_restricted' | 'session_store_unavailable' | 'too_many_requests' | 'user_store_unavailable' | 'wrong_code' | 'wrong_password';
  changePassword: CommonCode | 'cross_origin_denied' | 'email_not_verified' | 'no_password' | 'not_authenticated' | 'password_restricted' | 'second_factor_required' | 'session_store_unavailable' | 'step_up_required' | 'too_many_requests' | 'user_store_unavailable' | 'weak_password' | 'wrong_password';
  setPassword: CommonCode | 'cross_origin_denied' | 'email_not_verified' | 'not_authenticated' | 'password_exists' | 'second_factor_required' | 'session_store_unavailable' | 'step_up_required' | 'too_many_requests' | 'user_store_unavailable' | 'weak_password';
  forgotPassword: CommonCode | 'cross_origin_denied' | 'mail_not_configured' | 'session_store_unavailable' | 'too_many_requests';
  resetPassword: CommonCode | 'cross_origin_denied' | 'invalid_token' | 'session_store_unavailable' | 'too_many_requests' | 'user_store_unavailable' | 'weak_password';
  verifyEmail: CommonCode | 'cross_origin_denied' | 'email_domain_not_allowed' | 'email_taken' | 'invalid_token' | 'session_store_unavailable' | 'too_many_requests' | 'user_store_unavailable';
  resendVerification: CommonCode | 'cross_origin_denied' | 'mail_not_configured' | 'not_authenticated' | 'session_store_unavailable' | 'too_many_requests' | 'user_store_unavailable';
  changeEmail: CommonCode | 'cross_origin_denied' | 'email_domain_not_allowed' | 'mail_not_configured' | 'not_authenticated' | 'session_store_unavailable' | 'step_up_required' | 'too_many_requests' | 'user_store_unavailable';
  listFactors: CommonCode | 'email_not_verified' | 'not_authenticated' | 'session_store_unavailable' | 'user_store_unavailable';
  enrolTotp: CommonCode | 'cross_origin_denied' | 'email_not_verified' | 'factors_not_configured' | 'not_authenticated' | 'session_store_unavailable' | 'step_up_required' | 'too_many_factors' | 'user_store_unavailable';
  confirmTotp: CommonCode | 'cross_origin_denied' | 'email_not_verified' | 'factors_unavailable' | 'not_authenticated' | 'not_found' | 'session_store_unavailable' | 'step_up_required' | 'too_many_factors' | 'too_many_requests' | 'user_store_unavailable' | 'wrong_code';
  renameFactor: CommonCode | 'cross_origin_denied' | 'email_not_verified' | 'not_authenticated' | 'not_found' | 'second_factor_required' | 'session_store_unavailable' | 'user_store_unavailable';
  removeFactor: CommonCode | 'cross_origin_denied' | 'email_not_verified' | 'not_authenticated' | 'not_found' | 'second_factor_required' | 'session_store_unavailable' | 'step_up_required' | 'user_store_unavailable';
  newRecoveryCodes: CommonCode | 'cross_origin_denied' | 'email_not_verified' | 'no_factor' | 'not_authenticated' | 'second_factor_required' | 'session_store_unavailable' | 'step_up_required' | 'too_many_requests' | 'user_store_unavailable';
  listDevices: CommonCode | 'email_not_verified' | 'not_authenticated' | 'second_factor_required' | 'session_store_unavailable' | 'user_store_unavailable';
  removeDevice: CommonCode | 'cross_origin_denied' | 'email_not_verified' | 'not_authenticated' | 'not_found' | 'second_factor_required' | 'session_store_unavailable' | 'user_store_unavailable';
  config: CommonCode;
  listProviders: CommonCode;
  listIdentities: CommonCode | 'email_not_verified' | 'not_authenticated' | 'second_factor_required' | 'session_store_unavailable' | 'user_store_unavailable';
  linkIdentity: CommonCode | 'cross_origin_denied' | 'email_not_verified' | 'not_authenticated' | 'not_found' | 'provider_unavailable' | 'second_factor_required' | 'session_store_unavailable' | 'step_up_required' | 'too_many_requests' | 'user_store_unavailable';
  unlinkIdentity: CommonCode | 'cross_origin_denied' | 'email_not_verified' | 'last_login_method' | 'not_authenticated' | 'not_found' | 'second_factor_required' | 'session_store_unavailable' | 'step_up_required' | 'user_store_unavailable';
  profile: CommonCode | 'email_not_verified' | 'not_authenticated' | 'second_factor_required' | 'session_store_unavailable' | 'user_store_unavailable';
  updateProfile: CommonCode | 'cross_origin_denied' | 'email_not_verified' | 'not_authenticated' | 'second_factor_required' | 'session_store_unavailable' | 'user_store_unavailable';
  deleteProfile: CommonCode | 'cross_origin_denied' | 'email_not_verified' | 'not_authenticated' | 'second_factor_required' | 'session_store_unavailable' | 'step_up_required' | 'user_store_unavailable';
  healthz: CommonCode;
  readyz: CommonCode | 'not_ready';
}

/**
 * One method for each operation. It takes one object with the parameters, the members of the body,
 * and the options.
 */
export interface Client {
  /**
   * Create an account and log in.
   *
   * The new session replaces the current one, if there is one. A failed registration leaves the
   * current session unchanged. With `REGISTRATION=invite` an `invitation` is required, which works
   * once.
   */
  register(args: RegisterRequest & RequestOptions): Promise<RegisterResult>;

  /**
   * Log in with a password.
   *
   * The new session replaces the current one, if there is one. A failed login leaves the current
   * session unchanged. After 100 wrong passwords in a row the password is restricted: from a device
   * that is unknown to the account, it gets the same response as a wrong one, until the user logs in
   * on a known device or with a provider, or resets the password. Without `SMTP_URL`, a few passwords
   * an hour from each IP are still checked on unknown devices.
   */
  login(args: LoginRequest & RequestOptions): Promise<LoginResult>;

  /**
   * Get the pending login.
   *
   * A login is pending after a response with `factorRequired`, or after a provider returned with
   * `second_factor_required`. A pending login is not a session: it gives access only to these three
   * operations.
   */
  pendingLogin(args?: ReadOptions): Promise<PendingResult>;

  /**
   * Log in with a second factor.
   *
   * Completes the pending login. Each code works once. The fifth wrong code ends the login. After 100
   * wrong codes in a row, an authenticator app is disabled until the user proves another factor.
   */
  completeLogin(args?: CompleteLoginRequest & RequestOptions): Promise<LoginResult>;

  /** Cancel the pending login. */
  cancelLogin(args?: RequestOptions): Promise<void>;

  /**
   * Log out.
   *
   * Ends the session on the server, even if other requests are in flight.
   */
  logout(args?: RequestOptions): Promise<LogoutResult>;

  /** Get the signed-in user. */
  me(args?: ReadOptions): Promise<UserResult>;

  /**
   * Get the current session.
   *
   * Works while MongoDB is down.
   */
  session(args?: ReadOptions): Promise<SessionInfo>;

  /**
   * Give the session a new token.
   *
   * The old token stops working at once. If several requests rotate the same token at the same time,
   * exactly one succeeds and the others get 401. The absolute lifetime does not change.
   */
  rotateSession(args?: RequestOptions): Promise<RotateResult>;

  /**
   * List the user's sessions.
   *
   * Lists live sessions, most recently used first.
   */
  listSessions(args?: ReadOptions): Promise<SessionsResult>;

  /**
   * End the user's other sessions, or all of them.
   *
   * A login that is in progress at that moment does not begin a session. Other devices become unknown
   * to the account.
   */
  revokeSessions(args?: RevokeSessionsArgs & RequestOptions): Promise<RevokeSessionsResult>;

  /**
   * End one of the user's sessions.
   *
   * Ending the session of this request is a logout. If the response is lost, the same request can be
   * repeated: it succeeds again.
   */
  revokeSession(args: RevokeSessionArgs & RequestOptions): Promise<void>;

  /**
   * List the security events of the account.
   *
   * Returns 50 events at a time, newest first.
   */
  listActivity(args?: ListActivityArgs & ReadOptions): Promise<ActivityResult>;

  /**
   * Confirm the identity.
   *
   * Required by operations that return `step_up_required`, which lists in `methods` what the user has
   * to confirm: the password, a second factor, or both. It is valid for `STEP_UP_MAX_AGE`, and a login
   * counts as well. The session continues with a new token.
   */
  stepUp(args?: StepUpRequest & RequestOptions): Promise<RenewedResult>;

  /**
   * Change the password.
   *
   * If the account has a second factor, it must be confirmed first. The session continues with a new
   * token, all other sessions of the account end, and other devices become unknown to it. Links in
   * earlier emails no longer work. The owner is notified by email. If another request rotates this
   * session at the same time, this session ends, too: the response has no `sessionId`, and the cookie
   * is cleared.
   */
  changePassword(args: ChangePasswordRequest & RequestOptions): Promise<PasswordChangedResult>;

  /**
   * Set a first password.
   *
   * For accounts created by signing in with an external provider. Requires a recent login: `GET
   * /auth/{provider}?prompt=login`. The session continues with a new token, and all other sessions
   * end.
   */
  setPassword(args: SetPasswordRequest & RequestOptions): Promise<PasswordChangedResult>;

  /**
   * Request a password reset link.
   *
   * The response does not reveal whether the account exists. At most one email is sent per
   * `MAIL_INTERVAL` (a minute by default). A new link invalidates earlier ones.
   */
  forgotPassword(args: ForgotRequest & RequestOptions): Promise<MessageResult>;

  /**
   * Set a new password with the token of a link.
   *
   * The token works once, but a rejected password does not use it up. All sessions of the account end,
   * and the user has to log in. Other devices become unknown to the account. This device is known
   * until the browser is closed, or for longer if it was known before. If it is known to other
   * accounts only, it stays unknown to this one.
   */
  resetPassword(args: ResetRequest & RequestOptions): Promise<MessageResult>;

  /**
   * Verify an email with the token of a link.
   *
   * The token works once. If it belongs to a change of email, the account gets the new email and its
   * sessions end. The session of this request continues with a new token.
   *
   * The token verifies the email even without a session of the account, on a device that has never
   * logged in to it. But then somebody else may have created the account, so the first sign-in with a
   * provider and this email takes over the account, instead of linking the provider to it.
   */
  verifyEmail(args: VerifyEmailRequest & RequestOptions): Promise<MessageResult>;

  /**
   * Send the verification email again.
   *
   * Sends at most one email per `MAIL_INTERVAL` (a minute by default). If the email is verified
   * already, nothing is sent and the response is the same.
   */
  resendVerification(args?: RequestOptions): Promise<MessageResult>;

  /**
   * Request a change of email.
   *
   * The email changes when the link sent to the new email is used. The current email is notified. The
   * response does not reveal whether another account has the new email.
   */
  changeEmail(args: ChangeEmailRequest & RequestOptions): Promise<MessageResult>;

  /** List the second factors. */
  listFactors(args?: ReadOptions): Promise<FactorsResult>;

  /**
   * Set up an authenticator app.
   *
   * Show the QR code to the user, and confirm the code that the app then shows with `POST
   * /auth/totp/{id}/confirm`. Until then nothing changes. A new request replaces an earlier one that
   * was not confirmed.
   */
  enrolTotp(args?: RequestOptions): Promise<EnrolmentResult>;

  /**
   * Add the authenticator app.
   *
   * From now on, a login to the account needs a second factor. All other sessions of the account end,
   * and other devices become unknown to it. The session of this request continues with a new token.
   * The owner is notified by email.
   */
  confirmTotp(args: ConfirmTotpArgs & RequestOptions): Promise<FactorAddedResult>;

  /** Rename a second factor. */
  renameFactor(args: RenameFactorArgs & RequestOptions): Promise<FactorResult>;

  /**
   * Remove a second factor.
   *
   * Requires a recent proof of a second factor. With the last one, the recovery codes are removed,
   * too, and a login needs only one factor again. All other sessions end, and other devices become
   * unknown to the account. The session of this request continues with a new token. The owner is
   * notified by email.
   */
  removeFactor(args: RemoveFactorArgs & RequestOptions): Promise<void>;

  /**
   * Create new recovery codes.
   *
   * The earlier ones stop working. Each code works once, instead of a code of the authenticator app.
   * The owner is notified by email.
   */
  newRecoveryCodes(args?: RequestOptions): Promise<RecoveryCodesResult>;

  /**
   * List the trusted devices.
   *
   * On a trusted device, a login does not ask for a second factor for 30 days. Sensitive changes still
   * do. Changing the password or a factor, or ending the other sessions, revokes all trusted devices.
   */
  listDevices(args?: ReadOptions): Promise<DevicesResult>;

  /** Stop trusting a device. */
  removeDevice(args: RemoveDeviceArgs & RequestOptions): Promise<void>;

  /**
   * Get the public configuration.
   *
   * With it, a page can hide features that are not available, such as registration, providers, and
   * everything that needs an email. It depends only on the settings of the server.
   */
  config(args?: ReadOptions): Promise<ConfigResult>;

  /**
   * List the configured providers.
   *
   * For the login buttons of a page. A button is a link to `/auth/{provider}`: the browser has to
   * navigate there, fetching it does not work.
   */
  listProviders(args?: ReadOptions): Promise<ProvidersResult>;

  /** List the ways to log in to the account. */
  listIdentities(args?: ReadOptions): Promise<IdentitiesResult>;

  /**
   * Link an external account.
   *
   * Navigate the page to the `url` of the response. The browser comes back to `returnTo`. Linking adds
   * a way to log in, so it requires a recent login, and the owner is notified by email.
   */
  linkIdentity(args: LinkIdentityArgs & RequestOptions): Promise<LinkResult>;

  /**
   * Unlink an external account.
   *
   * All other sessions end, since they may have begun with that account, and other devices become
   * unknown. The owner is notified by email.
   */
  unlinkIdentity(args: UnlinkIdentityArgs & RequestOptions): Promise<void>;

  /** Get the profile. */
  profile(args?: ReadOptions): Promise<UserResult>;

  /**
   * Change the user's name or language.
   *
   * Changes only the members in the request, which must have at least one. Other fields cannot be
   * changed here.
   */
  updateProfile(args?: ProfileRequest & RequestOptions): Promise<ProfileUpdatedResult>;

  /**
   * Delete the account.
   *
   * Deletes the account and ends all of its sessions. This cannot be undone.
   */
  deleteProfile(args?: RequestOptions): Promise<void>;

  /**
   * Check that the process is alive.
   *
   * Does not depend on the stores, so that an outage of one does not restart every server.
   */
  healthz(args?: ReadOptions): Promise<HealthResult>;

  /**
   * Check that the server can handle requests.
   *
   * Checks that every store can be read and written. The result is reused for up to a second. Also
   * returns 503 during shutdown and, after startup, until the spelling of the stored emails has been
   * checked.
   */
  readyz(args?: ReadOptions): Promise<ReadyResult>;

  /**
   * Log in with a provider.
   *
   * Navigate the browser here. The user is redirected to the provider (authorization code flow with
   * PKCE) and has 10 minutes to return. If the login cannot start, the browser is redirected to
   * `return_to` with an `error` parameter: see `SignInError`.
   *
   * A page on a site that is not in `FRONTEND_URL` needs a click on a link (otherwise
   * `cross_origin_denied`), and cannot replace the session of another account (`wrong_account`). With
   * `COOKIE_SAME_SITE=strict` it cannot start a login at all. A session that ends with the browser
   * still does after the login.
   */
  startSignInURL(args: StartSignInArgs): string;
}

export interface RegisterRequest {
  /** Leading and trailing spaces are removed. Control characters are not allowed. */
  name: string;
  /** Case does not matter. */
  email: string;
  password: string;
  /**
   * The token of an invitation: the part of its link between #token= and &email=. The email must be
   * the invited one, and counts as verified.
   */
  invitation?: string;
}

export interface User {
  id: string;
  name: string;
  /** In lower case. */
  email: string;
  emailVerified: boolean;
  isActive: boolean;
  createdAt: string;
  updatedAt: string;
  lastLogin?: string;
  /**
   * Language of emails to the user, as a BCP 47 tag such as de or pt-BR. If it is missing, emails are
   * in the default language.
   */
  locale?: string;
  picture?: string;
}

export interface RegisterResult {
  message: 'Registration successful';
  user: User;
}

export interface LoginRequest {
  email: string;
  password: string;
  /** If false, the cookie ends with the browser session. The default is true. */
  rememberMe?: boolean;
}

export type FactorKind = 'totp' | 'recovery_code';

export interface LoginResult {
  message: 'Login successful' | 'Second factor required';
  /**
   * Whether the account has a second factor, and the login waits for it: continue with POST
   * /auth/login/factor.
   */
  factorRequired?: boolean;
  /** The second factors that the account accepts. Empty if only an operator can help. */
  factors?: FactorKind[];
  /** Missing if a second factor is required. */
  user?: User;
}

export interface PendingResult {
  /** The second factors that the account accepts. It is empty if only an operator can help. */
  factors: FactorKind[];
  /** When the user has to log in again. */
  expiresAt: string;
}

export interface CompleteLoginRequest {
  /** The code that the authenticator app shows. Spaces are ignored. */
  code?: string;
  /** One of the recovery codes. Case, spaces and hyphens are ignored. */
  recoveryCode?: string;
  /** Do not ask for a second factor on this device for 30 days. */
  trustDevice?: boolean;
}

export interface LogoutResult {
  message: 'Logout successful';
}

export interface UserResult {
  user: User;
}

export interface Method {
  /**
   * pwd is a password, fed an external provider, otp the code of an authenticator app, recovery a
   * recovery code, and device a trusted device.
   */
  method: 'pwd' | 'fed' | 'otp' | 'recovery' | 'device';
  /** When the user last proved it. */
  at: string;
  /** The name of the provider, for fed. */
  provider?: string;
}

export interface SessionInfo {
  authenticated: true;
  /**
   * The key in Redis is sess: and this ID. It is not a secret and differs from the token in the
   * cookie.
   */
  sessionId: string;
  userId: string;
  email: string;
  createdAt: string;
  /** Updated at most once per SESSION_TOUCH_INTERVAL. */
  lastSeenAt: string;
  /** When the session ends unless it is used before. */
  idleExpiresAt: string;
  /** When the session ends, even if it is used. */
  expiresAt: string;
  /** When the user last proved a first factor: a password or an external provider. */
  authenticatedAt: string;
  /** How the user has proved their identity, the first factor first. */
  methods: Method[];
  /** The level of authentication: aal1 with one factor, aal2 with two. */
  level: 'aal1' | 'aal2';
}

export interface RotateResult {
  message: 'Session rotated';
  sessionId: string;
  oldSessionId: string;
}

export interface ListedSession {
  id: string;
  /** Whether it is the session of this request. */
  current: boolean;
  createdAt: string;
  /** Updated at most once per SESSION_TOUCH_INTERVAL. */
  lastSeenAt: string;
  /** When the session ends unless it is used before. */
  idleExpiresAt: string;
  /** When the session ends, even if it is used. */
  expiresAt: string;
  /** The browser with which the session began, such as Firefox 142 on Linux. */
  device: string;
  /** The IP from which the session began. */
  ip: string;
  /** When the user last proved a first factor: a password or an external provider. */
  authenticatedAt: string;
  /** How the user has proved their identity, the first factor first. */
  methods: Method[];
  /** The level of authentication: aal1 with one factor, aal2 with two. */
  level: 'aal1' | 'aal2';
}

export interface SessionsResult {
  /** Empty if the session of this request ended at the same moment. */
  sessions: ListedSession[];
}

export interface RevokeSessionsArgs {
  /**
   * Which sessions to end: the user's other sessions (the default), or all, including the session of
   * this request.
   */
  scope?: 'others' | 'all';
}

export interface RevokeSessionsResult {
  /** The number of sessions ended. */
  revoked: number;
}

export interface RevokeSessionArgs {
  /** The ID of a session from GET /auth/sessions. */
  id: string;
}

export interface ListActivityArgs {
  /** The next member of the previous page. */
  before?: string;
}

export type EventName = 'registered' | 'login' | 'login_failed' | 'logout' | 'session_rotated' | 'session_revoked' | 'sessions_revoked' | 'password_changed' | 'password_change_failed' | 'password_reset_requested' | 'password_reset' | 'password_reset_failed' | 'email_verified' | 'email_verify_failed' | 'email_verify_requested' | 'email_change_requested' | 'email_changed' | 'step_up' | 'step_up_failed' | 'account_deleted' | 'account_expired' | 'account_disabled' | 'account_enabled' | 'limit_hit' | 'cross_origin_denied' | 'identity_linked' | 'identity_unlinked' | 'account_claimed' | 'profile_updated' | 'invited' | 'invitation_withdrawn' | 'invitation_failed' | 'password_restricted' | 'factor_added' | 'factor_removed' | 'factor_renamed' | 'factor_failed' | 'factor_disabled' | 'recovery_codes_created' | 'recovery_code_used' | 'factors_reset' | 'device_trusted' | 'device_untrusted' | 'second_factor_requested';

export interface SecurityEvent {
  id: string;
  at: string;
  event: EventName;
  /** Missing if the client of the request caused the event. */
  by?: 'operator';
  /** The number of sessions ended. */
  count?: number;
  /** The browser and system, such as Firefox 142 on Linux. */
  device?: string;
  ip?: string;
  /** For logins and step-ups: the level of authentication of the session. */
  level?: 'aal1' | 'aal2';
  /** For logins and step-ups: how the user proved their identity, separated by commas. */
  methods?: string;
  /** Set for a login from a device that is new to the account. */
  newDevice?: boolean;
  /** The provider of the external account. */
  provider?: string;
  /** The session that caused the event or that it affected. */
  sessionId?: string;
  userAgent?: string;
}

export interface ActivityResult {
  events: SecurityEvent[];
  /** The value of before for the next page. Missing on the last page. */
  next?: string;
}

export interface StepUpRequest {
  /** The code that the authenticator app shows. */
  code?: string;
  password?: string;
  /** One of the recovery codes, instead of a code. */
  recoveryCode?: string;
}

export interface RenewedResult {
  message: string;
  sessionId: string;
  authenticatedAt: string;
}

export interface ChangePasswordRequest {
  currentPassword: string;
  newPassword: string;
}

export interface PasswordChangedResult {
  message: string;
  authenticatedAt?: string;
  /** Missing if the session has ended. */
  sessionId?: string;
}

export interface SetPasswordRequest {
  newPassword: string;
}

export interface ForgotRequest {
  email: string;
}

export interface MessageResult {
  message: string;
}

export interface ResetRequest {
  /** The part after #token= of the link in the email. */
  token: string;
  password: string;
}

export interface VerifyEmailRequest {
  /** The part after #token= of the link in the email. */
  token: string;
}

export interface ChangeEmailRequest {
  email: string;
}

export interface SecondFactor {
  id: string;
  /** totp is an authenticator app. */
  type: 'totp';
  name: string;
  createdAt: string;
  /** Whether the app is disabled after 100 wrong codes in a row. Using another factor enables it again. */
  disabled?: boolean;
  lastUsed?: string;
}

export interface FactorsResult {
  factors: SecondFactor[];
  /** The number of unused recovery codes. */
  recoveryCodes: number;
}

export interface EnrolmentResult {
  id: string;
  /** In base32, for users who cannot scan the QR code. */
  secret: string;
  /** What the QR code contains. */
  uri: string;
  /** The QR code as an SVG document. */
  qrCode: string;
  /** When the setup expires. */
  expiresAt: string;
}

export interface ConfirmTOTPRequest {
  /** The code that the app shows. Spaces are ignored. */
  code: string;
  /** A name by which the user recognizes the app. The default is Authenticator app. */
  name?: string;
}

export interface ConfirmTotpArgs extends ConfirmTOTPRequest {
  /** The ID of a second factor. */
  id: string;
}

export interface FactorAddedResult {
  message: 'Authenticator app added';
  factor: SecondFactor;
  authenticatedAt?: string;
  /**
   * Codes for users who lose the app. Each works once. Returned only if the account had none, and
   * never again.
   */
  recoveryCodes?: string[];
  /** Missing if the session has ended. */
  sessionId?: string;
}

export interface RenameFactorRequest {
  name: string;
}

export interface RenameFactorArgs extends RenameFactorRequest {
  /** The ID of a second factor. */
  id: string;
}

export interface FactorResult {
  factor: SecondFactor;
}

export interface RemoveFactorArgs {
  /** The ID of a second factor. */
  id: string;
}

export interface RecoveryCodesResult {
  /** The codes, which are not shown again. */
  recoveryCodes: string[];
}

export interface TrustedDevice {
  id: string;
  /** The browser and system, such as Firefox 142 on Linux. */
  device: string;
  /** The IP from which the device became trusted. */
  ip: string;
  createdAt: string;
  expiresAt: string;
  /** Whether it is the device of this request. */
  current: boolean;
}

export interface DevicesResult {
  devices: TrustedDevice[];
}

export interface RemoveDeviceArgs {
  /** The ID of a device from GET /auth/devices. */
  id: string;
}

export interface EmailConfig {
  /**
   * Whether emails are sent. If not, users cannot reset a password, and cannot verify or change their
   * email.
   */
  enabled: boolean;
  /** Whether users must verify their email before they can use most routes. */
  verificationRequired: boolean;
}

export interface LoginProvider {
  /** The name in URLs. */
  name: string;
  /** The name for people. */
  title: string;
}

export interface PasswordConfig {
  /** In characters. */
  minLength: number;
  /** In characters. */
  maxLength: number;
  /** Whether common passwords are refused. */
  refuseCommon: boolean;
  /** Whether passwords from known breaches are refused. */
  checkBreaches: boolean;
}

export interface ConfigResult {
  /** The name of the product: APP_NAME. */
  name: string;
  /** Who may create an account: anyone, only invited users, or nobody. */
  registration: 'open' | 'invite' | 'closed';
  email: EmailConfig;
  providers: LoginProvider[];
  password: PasswordConfig;
  /** The kinds of second factors that users can add. */
  factors: FactorKind[];
  /** Whether every user must add a second factor before they can use most routes. */
  factorRequired: boolean;
  /** The languages of emails and pages, as BCP 47 tags. */
  languages: string[];
  /** The domains that emails may have. Missing if all are allowed. */
  emailDomains?: string[];
  /** The product's website: APP_URL. */
  url?: string;
}

export interface ProvidersResult {
  providers: LoginProvider[];
}

export interface LinkedAccount {
  provider: string;
  createdAt: string;
  /** The email that the provider reported when the account was linked. */
  email?: string;
  lastLogin?: string;
}

export interface IdentitiesResult {
  identities: LinkedAccount[];
  hasPassword: boolean;
}

export interface LinkRequest {
  /**
   * Where the browser returns: a URL under an origin of FRONTEND_URL, or a path under the first origin
   * (the default).
   */
  returnTo?: string;
}

export interface LinkIdentityArgs extends LinkRequest {
  /** The name of a provider from GET /auth/providers. */
  provider: string;
}

export interface LinkResult {
  url: string;
}

export interface UnlinkIdentityArgs {
  /** The name of a provider from GET /auth/providers. */
  provider: string;
}

export interface ProfileRequest {
  /**
   * A BCP 47 tag such as de or pt-BR, in one of the languages of the server. Stored and returned in
   * its canonical form.
   */
  locale?: string;
  /** Leading and trailing spaces are removed. Control characters are not allowed. */
  name?: string;
}

export interface ProfileUpdatedResult {
  message: 'Profile updated';
  user: User;
}

export interface HealthResult {
  status: 'ok';
}

export type StoreState = 'ok' | 'unavailable';

export interface StoreStates {
  redis: StoreState;
  mongodb: StoreState;
}

export interface ReadyResult {
  status: 'ready';
  stores: StoreStates;
}

export interface StartSignInArgs {
  /** The name of a provider from GET /auth/providers. */
  provider: string;
  /**
   * Where the browser returns: a URL under an origin of FRONTEND_URL, or a path under the first origin
   * (the default).
   */
  return_to?: string;
  /**
   * Authenticates the user again, even if they are signed in at the provider. For step_up_required if
   * the account has no password.
   */
  prompt?: 'login';
}

export interface FieldError {
  /** The member of the body or the parameter. Empty for the body as a whole. */
  field: string;
  code: 'invalid_json' | 'duplicate' | 'unknown' | 'wrong_type' | 'required' | 'invalid_email' | 'invalid_name' | 'unsupported_locale' | 'too_short' | 'too_long' | 'invalid' | 'common' | 'personal' | 'breached' | 'unchanged' | 'email_taken' | 'wrong_password' | 'wrong_code' | 'wrong_clock';
  /** A sentence for people. */
  message: string;
}

export type SessionEndReason = 'idle_timeout' | 'absolute_timeout' | 'logged_out' | 'revoked' | 'password_changed' | 'email_changed' | 'factors_changed' | 'account_disabled' | 'account_deleted' | 'too_many_sessions' | 'several_sessions';

export type SignInError = 'access_denied' | 'account_disabled' | 'already_linked' | 'cross_origin_denied' | 'email_domain_not_allowed' | 'email_missing' | 'identity_taken' | 'internal' | 'invalid_credentials' | 'invitation_required' | 'link_required' | 'not_authenticated' | 'overloaded' | 'provider_error' | 'provider_unavailable' | 'registration_closed' | 'second_factor_required' | 'session_store_unavailable' | 'sign_in_expired' | 'too_many_requests' | 'user_store_unavailable' | 'wrong_account';
