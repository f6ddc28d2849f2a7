"""All settings, in one module, from the environment.

Every variable is read here and nowhere else, as ``NAME`` or from the file that ``NAME_FILE`` names, and is listed
with its default in ``.env.example``. Development needs none of them. With ``DEBUG`` off, an unsafe value refuses to
start and says which (the end of this module).
"""

import os
import re
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import django_stubs_ext
import environ
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping

from observability.http.docker import bridge_address
from observability.http.policy import content_security_policy
from observability.logs import configuration as logging_configuration

django_stubs_ext.monkeypatch()  # lets Django's classes take type arguments at run time

BASE_DIR = Path(__file__).resolve().parent.parent

if (BASE_DIR / ".env").exists():
    environ.Env.read_env(BASE_DIR / ".env", parse_comments=True)


class Files(FileAwareMapping):
    """Variables, or the files that hold them, whose last line break, as every shell writes it, is not of the value."""

    def __getitem__(self, key: str) -> str:
        return str(super().__getitem__(key)).removesuffix("\n")  # type: ignore[no-untyped-call]


env = environ.FileAwareEnv()  # type: ignore[no-untyped-call]
environment = {name: value for name, value in os.environ.items() if value}  # empty means default
env.ENVIRON = Files(environment)  # type: ignore[no-untyped-call]

# --- The process -----------------------------------------------------------------------------------------------------

DEBUG = env.bool("DEBUG", default=True)
DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / "var")))
PORT = env.int("PORT", default=3000)
REVISION = env.str("REVISION", default="")  # the commit this build was made of, shown by bambisleep_build_info


def kept_secret(path: Path) -> str:
    """A random word, made once and kept in `path` for its owner alone, so that none stands in the repository.

    Raises OSError where it can be neither made nor read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    if not path.exists():
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(os.urandom(40).hex())
        with suppress(FileExistsError):  # another process, or the monitoring stack, got there first
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()


SECRET_KEY = env.str("SECRET_KEY", default="")
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
if DEBUG and not SECRET_KEY:
    SECRET_KEY = kept_secret(DATA_DIR / "development-secret-key")

INSTALLED_APPS = [
    "bambisleep",  # before staticfiles: its `runserver` is daphne's, and listens on PORT
    "observability",
    "observability.delivery",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.sessions",
    "django.contrib.sitemaps",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "axes",
    "djstripe",
    "accounts",  # after allauth and axes: its admin takes the place of theirs
    "payments",  # after djstripe, likewise
    "content",
    "realtime",
    "channels",
    "django_prometheus",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

# Every sync hook under ASGI is a thread hop. WhiteNoise can only run sync, and because it stands last, Django runs the
# whole stack above it in one thread: 7 hops for a page instead of 17 (docs/decisions/middleware-order.md).
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.middleware.SessionLimitsMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "axes.middleware.AxesMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
]

ROOT_URLCONF = "bambisleep.urls"
ASGI_APPLICATION = "bambisleep.asgi.application"
APPEND_SLASH = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SILENCED_SYSTEM_CHECKS = ["security.W021"]  # HSTS_PRELOAD is for the owner of the domain to decide

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "bambisleep" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

# --- Hosts, proxies and TLS ------------------------------------------------------------------------------------------

# In development: this machine by its own names, and by the name under which a container reaches it.
DEVELOPMENT_HOSTS = ["localhost", "127.0.0.1", "[::1]", "host.docker.internal"]
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[*DEVELOPMENT_HOSTS, *bridge_address()] if DEBUG else [])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
# How many of our own proxies stand before the application. 0: the peer is the client, and no header is believed.
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=0)
PUBLIC_URL = env.str("PUBLIC_URL", default=f"http://localhost:{PORT}").rstrip("/")
HTTPS = env.bool("HTTPS", default=not DEBUG)

SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=31_536_000 if HTTPS else 0)
# Hosts below this one, too (ASVS 3.4.1); and whether browsers may be delivered with it, which takes months to undo.
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("HSTS_SUBDOMAINS", default=HTTPS)
SECURE_HSTS_PRELOAD = env.bool("HSTS_PRELOAD", default=False)
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_NAME = "__Host-sessionid" if HTTPS else "sessionid"
CSRF_FAILURE_VIEW = "observability.problems.csrf_failure"
CSRF_COOKIE_NAME = "__Host-csrftoken" if HTTPS else "csrftoken"
CSRF_COOKIE_HTTPONLY = True  # forms carry the token; no script needs it
MESSAGE_STORAGE = "bambisleep.message_storage.Storage"
X_FRAME_OPTIONS = "DENY"

# Bodies above this are refused before they are read (the edge under uvicorn; daphne buffers first, so there nginx's
# client_max_body_size is what holds it).
MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", default=1_048_576)
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES

# --- Stopping, backups, retention ------------------------------------------------------------------------------------

# What `manage.py serve` does when it is told to stop: for so long it answers everybody, is not ready, and sends
# WebSockets elsewhere; longer than the proxy keeps an idle connection (deploy/nginx/upstream.conf: 4 s) ...
DRAIN_SECONDS = env.float("DRAIN_SECONDS", default=6.0)
# ... and then it waits so long for what is under way.
SHUTDOWN_SECONDS = env.int("SHUTDOWN_SECONDS", default=30)
# So many seconds it keeps an idle connection: longer than the proxy does, which must be the one that closes it, or a
# POST meets a closed door (deploy/nginx/upstream.conf: 4 s; a gateway of Kubernetes: minutes, or an hour).
KEEP_ALIVE_SECONDS = env.int("KEEP_ALIVE_SECONDS", default=5)
# Where `manage.py backup` puts its archives.
BACKUP_DIR = Path(env.str("BACKUP_DIR", default=str(DATA_DIR / "backups")))
# The public keys that they are encrypted to (age1…, comma-separated); empty: not at all.
BACKUP_RECIPIENTS = env.list("BACKUP_RECIPIENTS", default=[])
# Kept there: the last archive of each of so many days (0: all of them, for ever), and of each of so many weeks.
BACKUP_KEEP_DAYS = env.int("BACKUP_KEEP_DAYS", default=7)
BACKUP_KEEP_WEEKS = env.int("BACKUP_KEEP_WEEKS", default=4)
# For how many days `manage.py prune` leaves things alone (`prune --list`); 0: for ever.
REFRESH_FAMILIES_DAYS = env.int("REFRESH_FAMILIES_DAYS", default=30)  # API sign-ins, after they ended
MAILS_DAYS = env.int("MAILS_DAYS", default=14)  # that no mail server took
ADMIN_LOG_DAYS = env.int("ADMIN_LOG_DAYS", default=0)
VIEWERS_DAYS = env.int("VIEWERS_DAYS", default=730)  # whose a viewing was; watch time stays
ORPHANED_FILES_DAYS = env.int("ORPHANED_FILES_DAYS", default=7)
CHAT_REPORTS_DAYS = env.int("CHAT_REPORTS_DAYS", default=365)  # that are settled
CHAT_HISTORY_DAYS = env.int("CHAT_HISTORY_DAYS", default=0)

# --- Library ---------------------------------------------------------------------------------------------------------

# Where the files of the library are, unless a bucket is named. Nothing else may be in it.
LIBRARY_DIR = Path(env.str("LIBRARY_DIR", default=str(DATA_DIR / "library")))
# The internal location by which nginx delivers them (deploy/nginx); empty: the application does.
LIBRARY_ACCEL_LOCATION = env.str("LIBRARY_ACCEL_LOCATION", default="")
# An S3-compatible bucket instead of a directory (docs/how-to/object-storage.md): browsers are sent there.
LIBRARY_BUCKET = env.str("LIBRARY_BUCKET", default="")
LIBRARY_BUCKET_ENDPOINT = env.str("LIBRARY_BUCKET_ENDPOINT", default="").rstrip("/")  # empty: Amazon's own
LIBRARY_BUCKET_REGION = env.str("LIBRARY_BUCKET_REGION", default="")
LIBRARY_BUCKET_KEY_ID = env.str("LIBRARY_BUCKET_KEY_ID", default="")
LIBRARY_BUCKET_SECRET = env.str("LIBRARY_BUCKET_SECRET", default="")
# Where browsers are sent for its files: what the content security policy lets players and pictures come from.
LIBRARY_BUCKET_ORIGIN = env.str("LIBRARY_BUCKET_ORIGIN", default=LIBRARY_BUCKET_ENDPOINT).rstrip("/")
LIBRARY_MAX_FILE_BYTES = env.int("LIBRARY_MAX_FILE_BYTES", default=20 * 2**30)
# How long a link to a members' file is good. Who it was made for must be a member still, each time it is used.
LIBRARY_LINK = timedelta(minutes=env.int("LIBRARY_LINK_MINUTES", default=30))
# A player that is silent for so long has ended its viewing; it tells of itself every ten seconds while it plays.
VIEWING_IDLE = timedelta(seconds=env.int("VIEWING_IDLE_SECONDS", default=300))

# --- Headers ---------------------------------------------------------------------------------------------------------

# Nothing is loaded but from the site itself, and nothing inline runs: no template holds a script or a style, so no
# nonce is needed. The edge adds these to every response that does not set its own (observability/http/headers.py).
LIBRARY_SOURCES = f"'self' {LIBRARY_BUCKET_ORIGIN}" if LIBRARY_BUCKET else "'self'"
CONTENT_SECURITY_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": LIBRARY_SOURCES,
    "font-src": "'self'",
    "media-src": LIBRARY_SOURCES,
    "connect-src": "'self'",
    "manifest-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "object-src": "'none'",
    **({"upgrade-insecure-requests": ""} if HTTPS else {}),
}

SECURITY_HEADERS = {
    "Content-Security-Policy": content_security_policy(CONTENT_SECURITY_POLICY),
    "Permissions-Policy": ", ".join(
        [f"{feature}=()" for feature in ("camera", "display-capture", "geolocation", "microphone", "midi", "usb")]
        + ["payment=()", "accelerometer=()", "gyroscope=()", "magnetometer=()", "xr-spatial-tracking=()"]
        + [f"{feature}=(self)" for feature in ("autoplay", "fullscreen", "picture-in-picture")]
        + [f"publickey-credentials-{what}=(self)" for what in ("create", "get")]
    ),
    "Referrer-Policy": SECURE_REFERRER_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": X_FRAME_OPTIONS,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",  # what may be kept says so itself
}
STRICT_TRANSPORT_SECURITY = (
    f"max-age={SECURE_HSTS_SECONDS}"
    + "; includeSubDomains" * SECURE_HSTS_INCLUDE_SUBDOMAINS
    + "; preload" * SECURE_HSTS_PRELOAD
)

# Where to report a security problem (mailto: or https:), and until when that holds; see /.well-known/security.txt.
SECURITY_CONTACT = env.str("SECURITY_CONTACT", default="")
SECURITY_CONTACT_EXPIRES = env.str("SECURITY_CONTACT_EXPIRES", default="")

# --- Database, cache, sockets ----------------------------------------------------------------------------------------

DATABASE_URL = env.str("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'db.sqlite3'}")
DATABASE: dict[str, Any] = dict(environ.Env.db_url_config(DATABASE_URL))  # type: ignore[no-untyped-call]
if DATABASE["ENGINE"] == "django.db.backends.sqlite3":
    DATABASE["ENGINE"] = "django_prometheus.db.backends.sqlite3"
    DATABASE["OPTIONS"] = {
        # IMMEDIATE: a transaction that will write takes the lock at its start, and waits, instead of failing half-way.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,  # seconds
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
    }
    DATABASE["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}  # a file: threads of one test share it as in production
elif DATABASE["ENGINE"] == "django.db.backends.postgresql":
    DATABASE["ENGINE"] = "django_prometheus.db.backends.postgresql"
    DATABASE["CONN_MAX_AGE"] = 0  # the pool keeps connections; a persistent one per thread would leak under ASGI
    DATABASE["CONN_HEALTH_CHECKS"] = True
    DATABASE["OPTIONS"] = {
        **DATABASE.get("OPTIONS", {}),
        "connect_timeout": 2,
        "pool": {
            "min_size": 1,
            "max_size": env.int("DATABASE_POOL_SIZE", default=20),
            "reconnect_timeout": 5,  # seconds between attempts at most, so that it is soon back after an outage
            "timeout": 2,  # seconds a request waits for a connection before it is answered 503
        },
    }
else:
    raise ImproperlyConfigured(f"DATABASE_URL: use sqlite:// or postgres://, not {DATABASE['ENGINE']}.")
DATABASES = {"default": DATABASE}
# After so long PostgreSQL gives up what a serving process asks, which is answered 503 (observability/database.py).
# 0: never.
DATABASE_STATEMENT_SECONDS = env.float("DATABASE_STATEMENT_SECONDS", default=8.0)

REDIS_URL = env.str("REDIS_URL", default="")
if REDIS_URL:
    CACHES = {
        "default": {
            "BACKEND": "observability.cache.FailoverCache",
            "LOCATION": REDIS_URL,
            "OPTIONS": {"socket_timeout": 0.3, "socket_connect_timeout": 0.3},  # seconds
        }
    }
else:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
SESSION_ENGINE = "django.contrib.sessions.backends.db"

# By which the processes tell each other that somebody said something. It may be away: then they look into the database.
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_connect_timeout": 1.0}], "prefix": "bambisleep"},
    }
    if REDIS_URL
    # A process joins the group once, when somebody comes.
    else {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"group_expiry": float("inf")}}  # seconds
}

# --- Chat ------------------------------------------------------------------------------------------------------------

# How many threads of each process ask the database on the chat's behalf; as many of DATABASE_POOL_SIZE are theirs.
CHAT_DATABASE_THREADS = env.int("CHAT_DATABASE_THREADS", default=4)
# How often each process looks for what it was not told of, in seconds: how late messages may be while Redis is away.
CHAT_POLL_SECONDS = env.float("CHAT_POLL_SECONDS", default=2.0)
# A connection that says nothing for so long is closed; the page pings every 25 seconds.
CHAT_IDLE_SECONDS = env.float("CHAT_IDLE_SECONDS", default=90.0)
CHAT_AUTH_SECONDS = env.float("CHAT_AUTH_SECONDS", default=5.0)  # for the first message, where it is to be a token
# To one process, of one account and of one address (IPv6: of one network).
CHAT_CONNECTIONS_PER_USER = env.int("CHAT_CONNECTIONS_PER_USER", default=10)
CHAT_CONNECTIONS_PER_ADDRESS = env.int("CHAT_CONNECTIONS_PER_ADDRESS", default=50)
# How fast a person may write, and how much of it at once.
CHAT_MESSAGES_PER_MINUTE = env.int("CHAT_MESSAGES_PER_MINUTE", default=60)
CHAT_BURST = env.int("CHAT_BURST", default=10)

# --- Accounts --------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "accounts.backends.NameOrEmailBackend"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "accounts.passwords.MaximumLengthValidator"},
    {"NAME": "accounts.passwords.LeakedPasswordValidator"},
    {"NAME": "accounts.passwords.SiteNameValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
# Both are those of the site's other signatures, where they are not set.
JWT_SIGNING_KEY = env.str("JWT_SIGNING_KEY", default="")
JWT_SIGNING_KEY_FALLBACKS = env.list(
    "JWT_SIGNING_KEY_FALLBACKS", default=[] if JWT_SIGNING_KEY else SECRET_KEY_FALLBACKS
)
JWT_SIGNING_KEY = JWT_SIGNING_KEY or SECRET_KEY
SIMPLE_JWT = {
    "AUTH_TOKEN_CLASSES": ["accounts.signatures.AccessToken"],
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=10),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=14),
    "ALGORITHM": "HS256",
    "SIGNING_KEY": JWT_SIGNING_KEY,
    "AUDIENCE": "bambisleep",
    "ISSUER": "bambisleep",
    "LEEWAY": 10,  # seconds a clock may be off
    "CHECK_REVOKE_TOKEN": True,  # a changed password ends the tokens given before
}

# A browser stays signed in while it is used, and never longer than the second limit. The first is the age of a session,
# which moves with its use (accounts/middleware.py).
SESSION_COOKIE_AGE = env.int("SESSION_IDLE_HOURS", default=72) * 3600
SESSION_ABSOLUTE_SECONDS = env.int("SESSION_ABSOLUTE_HOURS", default=24 * 14) * 3600
# A fresh sign-in is asked for before e-mail address, second factor, sessions or the account itself change.
FRESH_SIGN_IN_SECONDS = 30 * 60
# How long an account that is to be deleted can still be had back, by signing in.
DELETION_GRACE_DAYS = env.int("DELETION_GRACE_DAYS", default=14)
EMAIL_VERIFICATION_REQUIRED = env.bool("EMAIL_VERIFICATION_REQUIRED", default=False)

ACCOUNT_ADAPTER = "accounts.adapters.AccountAdapter"
ACCOUNT_FORMS = {
    "login": "accounts.forms.SignInForm",
    "signup": "accounts.forms.SignUpForm",
    "request_login_code": "accounts.forms.SignInCodeRequestForm",
    "confirm_login_code": "accounts.forms.SignInCodeForm",
    "reset_password": "accounts.forms.ResetForm",
    "change_password": "accounts.forms.PasswordForm",
}
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory" if EMAIL_VERIFICATION_REQUIRED else "optional"
ACCOUNT_PREVENT_ENUMERATION = "strict"  # an address is nobody's before it is verified; see docs/decisions/addresses.md
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[bambisleep] "
ACCOUNT_LOGIN_BY_CODE_ENABLED = True
ACCOUNT_LOGIN_BY_CODE_TIMEOUT = 10 * 60  # seconds (ASVS 6.5.5)
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False  # the other sessions end, this one stays
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = FRESH_SIGN_IN_SECONDS
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_USER_DISPLAY = "accounts.models.display_name"
# Failed sign-ins are axes' (accounts/lockout.py), so that there is one limiter for one question; these are for mails,
# codes, and forms. per: the client's network, the account, or what was typed.
ACCOUNT_RATE_LIMITS = {
    "login": None,
    "login_failed": None,
    "signup": "10/5m/ip,60/h/ip",
    "request_login_code": "10/5m/ip,10/h/key",
    "reset_password": "10/5m/ip,10/h/key",
    "reset_password_from_key": "10/5m/ip",
    "confirm_email": "1/3m/key",
    "change_password": "5/m/user",
    "manage_email": "10/h/user",
    "reauthenticate": "10/m/user",
}
ALLAUTH_RATE_LIMIT_IPV6_PREFIX = 64
MFA_ADAPTER = "accounts.adapters.SecondFactorAdapter"
MFA_FORMS = {
    "authenticate": "accounts.forms.SecondFactorForm",
    "reauthenticate": "accounts.forms.FreshSecondFactorForm",
    "authenticate_webauthn": "accounts.forms.SecondFactorPasskeyForm",
    "reauthenticate_webauthn": "accounts.forms.FreshPasskeyForm",
    "login_webauthn": "accounts.forms.PasskeySignInForm",
    "add_webauthn": "accounts.forms.AddPasskeyForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "bambisleep"
MFA_TOTP_TOLERANCE = 1  # steps of 30 s that a clock may be off; each code is good once (accounts/second_factor.py)
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_ALLOW_UNVERIFIED_EMAIL = True  # an unverified address is nobody's, so no owner can be shut out by it
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = DEBUG

AXES_HANDLER = "accounts.lockout.Handler"
AXES_LOCKOUT_PARAMETERS = ["username", "ip_address"]
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_USERNAME_CALLABLE = "accounts.lockout.account_key"
AXES_CLIENT_IP_CALLABLE = "accounts.lockout.network"
AXES_LOCKOUT_CALLABLE = "accounts.lockout.response"
AXES_ENABLE_ADMIN = False  # accounts/admin.py shows them
AXES_VERBOSE = False

# --- Mail ------------------------------------------------------------------------------------------------------------

# smtp+tls://user:password@host:587 and the like; development prints mails on the console.
EMAIL_URL = env.str("EMAIL_URL", default="consolemail://" if DEBUG else "")
EMAIL_CONFIGURATION = environ.Env.email_url_config(EMAIL_URL or "smtp://localhost:25")  # type: ignore[no-untyped-call]
EMAIL_HOST = EMAIL_CONFIGURATION.get("EMAIL_HOST") or ""
EMAIL_PORT = EMAIL_CONFIGURATION.get("EMAIL_PORT") or 25
EMAIL_HOST_USER = EMAIL_CONFIGURATION.get("EMAIL_HOST_USER") or ""
EMAIL_HOST_PASSWORD = EMAIL_CONFIGURATION.get("EMAIL_HOST_PASSWORD") or ""
EMAIL_USE_TLS = EMAIL_CONFIGURATION.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = EMAIL_CONFIGURATION.get("EMAIL_USE_SSL", False)
EMAIL_FILE_PATH = EMAIL_CONFIGURATION.get("EMAIL_FILE_PATH") or ""
EMAIL_TIMEOUT = 10  # seconds
EMAIL_BACKEND = "accounts.mail.OutboxBackend"  # stores the mail; a thread hands it on, and again until it is taken
EMAIL_DELIVERY_BACKEND = EMAIL_CONFIGURATION["EMAIL_BACKEND"]
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="bambisleep@localhost")

# --- Payments --------------------------------------------------------------------------------------------------------

# sk_test_…, sk_live_…, or a restricted key. Empty: demo mode, plans are listed and nothing can be bought.
STRIPE_SECRET_KEY = env.str("STRIPE_SECRET_KEY", default="")
STRIPE_LIVE_MODE = "_live_" in STRIPE_SECRET_KEY
STRIPE_LIVE_SECRET_KEY, STRIPE_TEST_SECRET_KEY = (
    (STRIPE_SECRET_KEY, "") if STRIPE_LIVE_MODE else ("", STRIPE_SECRET_KEY)
)
# What signs the events; several while one is replaced. `manage.py setup_stripe` keeps those it gets in the database.
STRIPE_WEBHOOK_SECRETS = env.list("STRIPE_WEBHOOK_SECRETS", default=[])
# Where Stripe's API is: its own, or a stand-in.
STRIPE_API_BASE = env.str("STRIPE_API_BASE", default="https://api.stripe.com").rstrip("/")
STRIPE_API_VERSION = "2026-05-27.dahlia"  # the shapes that this code was written for
STRIPE_TIMEOUT_SECONDS = env.float("STRIPE_TIMEOUT_SECONDS", default=8.0)  # of one call, from start to end
# Where Checkout and the customer portal are: what forms may lead to.
STRIPE_PAGES = env.list("STRIPE_PAGES", default=["https://checkout.stripe.com", "https://billing.stripe.com"])
# Stripe Tax: Checkout asks for the address and adds the tax. To be switched on at Stripe first.
STRIPE_AUTOMATIC_TAX = env.bool("STRIPE_AUTOMATIC_TAX", default=False)
# How long a member whose payment failed, or whose renewal Stripe has not told of yet, keeps what was paid for before.
PAYMENT_GRACE_DAYS = env.int("PAYMENT_GRACE_DAYS", default=7)
STRIPE_EVENTS_DAYS = env.int("STRIPE_EVENTS_DAYS", default=90)  # how long the log of webhooks is kept
DJSTRIPE_FOREIGN_KEY_TO_FIELD = "id"
# dj-stripe's own migrations take a minute; ours make the same tables at once (docs/decisions/payments.md).
MIGRATION_MODULES = {"djstripe": "payments.mirror_schema"}

# --- JSON API --------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.authentication.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["observability.http.json.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "observability.http.openapi.ProblemAutoSchema",
    "URL_FORMAT_OVERRIDE": None,  # ?format= is a query like any other
    "EXCEPTION_HANDLER": "observability.http.api_errors.exception_handler",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "bambisleep",
    "DESCRIPTION": "Accounts and delivery records. Errors are problem details (RFC 9457).",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "DeploymentStatus": "observability.delivery.models.Status",
        "IncidentSeverity": "observability.delivery.models.Severity",
    },
}

# --- Static files ----------------------------------------------------------------------------------------------------

STATIC_URL = "/static/"
STATIC_ROOT = Path(env.str("STATIC_DIR", default=str(DATA_DIR / "static")))  # where collectstatic puts them
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_ALLOW_ALL_ORIGINS = False  # fonts and scripts are for this site's own pages
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "library": {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": LIBRARY_BUCKET,
            "endpoint_url": LIBRARY_BUCKET_ENDPOINT or None,
            "region_name": LIBRARY_BUCKET_REGION or None,
            "access_key": LIBRARY_BUCKET_KEY_ID or None,
            "secret_key": LIBRARY_BUCKET_SECRET or None,
            "default_acl": None,
            "querystring_auth": True,
            "file_overwrite": False,
            "signature_version": "s3v4",
        },
    }
    if LIBRARY_BUCKET
    else {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(LIBRARY_DIR), "base_url": None, "file_permissions_mode": 0o640},
    },
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# --- Observability ---------------------------------------------------------------------------------------------------

METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
DORA_PUBLIC = env.bool("DORA_PUBLIC", default=True)
DEPLOY_SERVICE = env.str("DEPLOY_SERVICE", default="bambisleep")
DEPLOY_ENVIRONMENT = env.str("DEPLOY_ENVIRONMENT", default="production")
# The services that may be recorded; empty: any.
DEPLOY_SERVICES = env.list("DEPLOY_SERVICES", default=[])
# The environments that may be recorded; empty: any.
DEPLOY_ENVIRONMENTS = env.list("DEPLOY_ENVIRONMENTS", default=[])
# What Alertmanager sends to POST /alerts as a bearer token; and where its API is, to catch up with what was missed.
ALERTS_TOKEN = env.str("ALERTS_TOKEN", default="")
if DEBUG and not ALERTS_TOKEN:
    # Whichever starts first makes it, this or Alertmanager's container (deploy/alertmanager/share-token.sh).
    ALERTS_TOKEN = kept_secret(DATA_DIR / "shared" / "alerts-token")
ALERTMANAGER_URL = env.str("ALERTMANAGER_URL", default="").rstrip("/")
# Looked at by `manage.py doctor` alone.
PROMETHEUS_URL = env.str("PROMETHEUS_URL", default="").rstrip("/")
SLACK_WEBHOOK_URLS = [
    env.str("SLACK_WEBHOOK_URL", default=""),
    env.str("SLACK_WEBHOOK_URL_CRITICAL", default=""),
    env.str("SLACK_WEBHOOK_URL_WARNINGS", default=""),
    env.str("SLACK_WEBHOOK_URL_GENERAL", default=""),
]
# How long after a deployment an incident may be laid at its door.
BLAST_WINDOW = timedelta(minutes=env.int("BLAST_WINDOW_MINUTES", default=60))
FACTS_INTERVAL_SECONDS = env.float("FACTS_INTERVAL_SECONDS", default=10.0)
FACTS_TIMEOUT_SECONDS = env.float("FACTS_TIMEOUT_SECONDS", default=5.0)

# How long security events are kept, and how many at most.
SECURITY_EVENTS_DAYS = env.int("SECURITY_EVENTS_DAYS", default=90)
SECURITY_EVENTS_MAX_ROWS = env.int("SECURITY_EVENTS_MAX_ROWS", default=100_000)

LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
LOG_FORMAT = env.str("LOG_FORMAT", default="console" if DEBUG else "json")
LOGGING_CONFIG = None  # configured once, here, by structlog
logging_configuration(level=LOG_LEVEL, log_format=LOG_FORMAT)

# --- What a production start refuses ---------------------------------------------------------------------------------


def unsafe_values() -> list[str]:
    """Each setting that must not go to production as it is, as a sentence that says what to do."""
    found = []
    if not SECRET_KEY:
        found.append("SECRET_KEY is not set: give it 50 random characters or more.")
    elif len(SECRET_KEY) < 50 or len(set(SECRET_KEY)) < 5 or SECRET_KEY.startswith("django-insecure-"):
        found.append("SECRET_KEY is too weak: give it 50 random characters or more.")
    if len(JWT_SIGNING_KEY) < 32 and SECRET_KEY:  # RFC 7518, section 3.2, for HS256
        found.append("JWT_SIGNING_KEY is too short: give it 32 random characters or more.")
    if any(len(key) < 32 for key in JWT_SIGNING_KEY_FALLBACKS):
        found.append("JWT_SIGNING_KEY_FALLBACKS holds a key of less than 32 characters: take it out.")
    if any(len(key) < 50 for key in SECRET_KEY_FALLBACKS):
        found.append("SECRET_KEY_FALLBACKS holds a key of less than 50 characters: take it out.")
    if not ALLOWED_HOSTS:
        found.append("ALLOWED_HOSTS is not set: name the hosts that this site answers to.")
    if "*" in ALLOWED_HOSTS:
        found.append("ALLOWED_HOSTS holds a wildcard: name the hosts that this site answers to.")
    if DATABASE.get("PASSWORD") in {"postgres", "password", "changeme", "bambisleep", "admin"}:
        found.append("DATABASE_URL carries a default password: choose another.")
    if STRIPE_LIVE_MODE and STRIPE_API_BASE != "https://api.stripe.com":
        found.append("STRIPE_API_BASE is not Stripe's, and STRIPE_SECRET_KEY is a live key.")
    return found


def contradictions() -> list[str]:
    """Each setting whose value cannot be used anywhere, as a sentence."""
    found = []
    if TRUSTED_PROXIES < 0:
        found.append("TRUSTED_PROXIES counts proxies: it cannot be negative.")
    if MAX_BODY_BYTES < 1024:
        found.append("MAX_BODY_BYTES must be 1024 or more.")
    if LOG_FORMAT not in {"console", "json"}:
        found.append("LOG_FORMAT is either console or json.")
    if SECURITY_CONTACT and not re.fullmatch(r"(mailto:|https://)\S+", SECURITY_CONTACT):
        found.append("SECURITY_CONTACT is an address with its scheme, such as mailto:security@example.org.")
    try:
        date.fromisoformat(SECURITY_CONTACT_EXPIRES or "2030-12-31")
    except ValueError:
        found.append("SECURITY_CONTACT_EXPIRES is a date, such as 2030-12-31.")
    if not 0 < SESSION_COOKIE_AGE <= SESSION_ABSOLUTE_SECONDS:
        found.append("SESSION_IDLE_HOURS is above 0 and no longer than SESSION_ABSOLUTE_HOURS.")
    if DELETION_GRACE_DAYS < 0:
        found.append("DELETION_GRACE_DAYS counts days: it cannot be negative.")
    if not re.fullmatch(r"https?://[^/\s]+", PUBLIC_URL):
        found.append("PUBLIC_URL is a scheme and a host, such as https://example.org.")
    return found


def contradictions_of_operations() -> list[str]:
    """The same for stopping, backups and retention."""
    found = []
    if not 0 <= DRAIN_SECONDS <= 300 or not 0 < SHUTDOWN_SECONDS <= 3600:
        found.append("DRAIN_SECONDS is between 0 and 300, SHUTDOWN_SECONDS between 1 and 3600.")
    if not 1 <= KEEP_ALIVE_SECONDS <= 86_400:
        found.append("KEEP_ALIVE_SECONDS is between 1 and 86400.")
    if not (DATABASE_STATEMENT_SECONDS == 0 or 0.1 <= DATABASE_STATEMENT_SECONDS <= 3600):
        found.append("DATABASE_STATEMENT_SECONDS is between 0.1 and 3600, or 0 for no limit.")
    kept = (REFRESH_FAMILIES_DAYS, MAILS_DAYS, ADMIN_LOG_DAYS, VIEWERS_DAYS, ORPHANED_FILES_DAYS)
    if min(*kept, CHAT_REPORTS_DAYS, CHAT_HISTORY_DAYS) < 0:
        found.append(
            "REFRESH_FAMILIES_DAYS, MAILS_DAYS, ADMIN_LOG_DAYS, VIEWERS_DAYS, ORPHANED_FILES_DAYS, CHAT_REPORTS_DAYS "
            "and CHAT_HISTORY_DAYS count days: 0 or more."
        )
    if SECURITY_EVENTS_DAYS < 1 or SECURITY_EVENTS_MAX_ROWS < 1000:
        found.append("SECURITY_EVENTS_DAYS is 1 or more, SECURITY_EVENTS_MAX_ROWS 1000 or more.")
    if BACKUP_KEEP_DAYS < 0 or BACKUP_KEEP_WEEKS < 0:
        found.append("BACKUP_KEEP_DAYS and BACKUP_KEEP_WEEKS count archives: they cannot be negative.")
    if any(not recipient.startswith(("age1", "ssh-")) for recipient in BACKUP_RECIPIENTS):
        found.append("BACKUP_RECIPIENTS are public keys, such as age1…: the private key belongs on no server.")
    return found


def contradictions_of_the_library() -> list[str]:
    """The same for the library."""
    found = []
    if LIBRARY_ACCEL_LOCATION and not re.fullmatch(r"/[a-z0-9_-]+/", LIBRARY_ACCEL_LOCATION):
        found.append("LIBRARY_ACCEL_LOCATION is a path of one part, such as /_library/.")
    if LIBRARY_ACCEL_LOCATION and LIBRARY_BUCKET:
        found.append("LIBRARY_ACCEL_LOCATION is for files on this machine: leave it, or LIBRARY_BUCKET, empty.")
    origins = (LIBRARY_BUCKET_ENDPOINT, LIBRARY_BUCKET_ORIGIN)
    if any(origin and not re.fullmatch(r"https?://[^/\s;,]+", origin) for origin in origins):
        found.append("LIBRARY_BUCKET_ENDPOINT and LIBRARY_BUCKET_ORIGIN are a scheme and a host.")
    if LIBRARY_BUCKET and not LIBRARY_BUCKET_ORIGIN:
        found.append("LIBRARY_BUCKET_ORIGIN is not set: say where browsers find the bucket's files.")
    if LIBRARY_MAX_FILE_BYTES < 1 or timedelta(minutes=1) > LIBRARY_LINK:
        found.append("LIBRARY_MAX_FILE_BYTES and LIBRARY_LINK_MINUTES are 1 or more.")
    if timedelta(seconds=1) > VIEWING_IDLE:
        found.append("VIEWING_IDLE_SECONDS is 1 or more.")
    return found


def contradictions_of_the_chat() -> list[str]:
    """The same for the chat."""
    found = []
    pool = DATABASE.get("OPTIONS", {}).get("pool", {}).get("max_size")
    if CHAT_DATABASE_THREADS < 1 or (pool is not None and pool <= CHAT_DATABASE_THREADS):
        found.append(
            "CHAT_DATABASE_THREADS is 1 or more, and less than DATABASE_POOL_SIZE: pages need connections too."
        )
    if not 0.1 <= CHAT_POLL_SECONDS <= 60:
        found.append("CHAT_POLL_SECONDS is between 0.1 and 60.")
    if CHAT_IDLE_SECONDS <= 0 or CHAT_AUTH_SECONDS <= 0:
        found.append("CHAT_IDLE_SECONDS and CHAT_AUTH_SECONDS are above 0.")
    numbers = (CHAT_CONNECTIONS_PER_USER, CHAT_CONNECTIONS_PER_ADDRESS, CHAT_MESSAGES_PER_MINUTE, CHAT_BURST)
    if min(numbers) < 1:
        found.append("CHAT_CONNECTIONS_PER_USER, …_PER_ADDRESS, CHAT_MESSAGES_PER_MINUTE and CHAT_BURST are 1 or more.")
    return found


def contradictions_of_payments() -> list[str]:
    """The same for payments."""
    found = []
    if STRIPE_SECRET_KEY and not re.fullmatch(r"[sr]k_(test|live)_[A-Za-z0-9]{24,}", STRIPE_SECRET_KEY):
        found.append("STRIPE_SECRET_KEY is a secret or restricted key: sk_test_…, sk_live_…, rk_test_… or rk_live_….")
    if any(not secret.startswith("whsec_") for secret in STRIPE_WEBHOOK_SECRETS):
        found.append("STRIPE_WEBHOOK_SECRETS are signing secrets, which start with whsec_.")
    if not re.fullmatch(r"https?://[^/\s]+", STRIPE_API_BASE):
        found.append("STRIPE_API_BASE is a scheme and a host, such as https://api.stripe.com.")
    if not 0 < STRIPE_TIMEOUT_SECONDS <= 60:
        found.append("STRIPE_TIMEOUT_SECONDS is above 0, and 60 at most.")
    if PAYMENT_GRACE_DAYS < 0 or STRIPE_EVENTS_DAYS < 4:
        found.append("PAYMENT_GRACE_DAYS is 0 or more; STRIPE_EVENTS_DAYS 4 or more: Stripe repeats for 3 days.")
    return found


PROBLEMS = contradictions() + contradictions_of_the_library() + contradictions_of_payments()
PROBLEMS += contradictions_of_the_chat() + contradictions_of_operations()
PROBLEMS += [] if DEBUG else unsafe_values()
if PROBLEMS:
    raise ImproperlyConfigured("This site does not start with these settings:\n  " + "\n  ".join(PROBLEMS))
