// Package console is the operators' and customers' pages: what the fleet does,
// what is stuck and why, and what to press.
//
// Pages are made on the server and work without scripts; scripts make them live.
// It promises that no page shows a secret, that what others named is text and
// nothing else, and that nobody acts without the operator's role. What a page
// shows and holds of loads is bounded. What it reads may be all of a destination:
// for the calendar, and for dead letters by more than stage and destination. It
// keeps nothing: all that it shows is the queue's, and sessions end with the
// process.
package console

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// Config is what a console needs. Queue and Access are required.
type Config struct {
	Queue   *queue.Queue
	Access  Access
	Keyring *destination.Keyring // opens and seals destinations' secrets; without it they can be looked at only
	Fleet   destination.Fleet    // who the fleet is, for policies
	Storage storage.Config       // for checks
	Version string
}

// Console serves the pages.
type Console struct {
	cfg      Config
	index    *queue.ExtractionIndex
	present  atomic.Pointer[queue.Presences] // nil until Run listens
	pace     *pace
	sessions sessions
	pages    map[string]*template.Template
	log      *zap.Logger
}

// keptExtractions is how many extractions the console remembers.
const keptExtractions = 10_000

//go:embed templates/*.html
var templates embed.FS

//go:embed static
var static embed.FS

// New makes a console. Nothing is shown of extractions until Run runs.
func New(cfg Config, log *zap.Logger) (*Console, error) {
	c := &Console{cfg: cfg, log: log, index: cfg.Queue.IndexExtractions(keptExtractions), pages: map[string]*template.Template{}}
	c.pace = newPace(c.index, c.processes)
	names, err := fs.Glob(templates, "templates/*.html")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		page, err := template.New("layout.html").Funcs(functions()).ParseFS(templates, "templates/layout.html", name)
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		c.pages[name[len("templates/"):len(name)-len(".html")]] = page
	}
	return c, nil
}

// Run keeps what the pages show current until ctx ends.
func (c *Console) Run(ctx context.Context) error {
	present, err := c.cfg.Queue.Presences(ctx)
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	defer present.Close()
	c.present.Store(present)
	var background sync.WaitGroup
	defer background.Wait()
	background.Go(func() { c.pace.run(ctx) })
	if err := c.index.Follow(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("console: %w", err)
	}
	return nil
}

// Handler serves every page.
func (c *Console) Handler() http.Handler {
	mux := http.NewServeMux()
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // the directory is embedded above
	}
	mux.Handle("GET /static/", http.StripPrefix("/static/", cached(http.FileServerFS(files))))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /login", c.loginPage)
	mux.HandleFunc("POST /login", c.login)
	mux.HandleFunc("POST /logout", c.logout)

	for pattern, page := range map[string]page{
		"GET /{$}":                   c.overview,
		"GET /extractions":           c.extractions,
		"GET /extractions/{ws}/{id}": c.extraction,
		"GET /loads":                 c.loads,
		"GET /deadletters":           c.deadLetters,
		"GET /deadletters/{seq}":     c.deadLetter,
		"GET /destinations":          c.destinations,
		"GET /destinations/{id}":     c.destination,
		"GET /calendar/{id}":         c.calendar,
	} {
		mux.Handle(pattern, c.shown(Viewer, page))
	}
	for pattern, page := range map[string]page{
		"GET /destinations/{id}/edit":      c.editDestination,
		"POST /destinations/{id}/edit":     c.saveDestination,
		"POST /destinations/judge":         c.judgeDestination,
		"POST /destinations/{id}/check":    c.checkDestination,
		"POST /destinations/{id}/{action}": c.turnDestination,
		"POST /deadletters":                c.decideDeadLetters,
		"POST /fleet/{name}/{action}":      c.instruct,
	} {
		mux.Handle(pattern, c.shown(Operator, page))
	}
	mux.HandleFunc("GET /live", c.live)
	return guarded(http.NewCrossOriginProtection().Handler(mux))
}

// policy is what a browser may do with a page: nothing that is not ours.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func cached(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=300")
		next.ServeHTTP(w, r)
	})
}

// page makes what its template shows. A *said becomes a page of its own.
type page func(r *request) (any, error)

// request is a request by somebody known.
type request struct {
	*http.Request
	who  Person
	name string // of the template
	to   string // where to go instead of showing a page
	note string // shown there
}

// see is the end of an action: the browser goes to look at what it did.
func (r *request) see(to, format string, args ...any) (any, error) {
	r.to, r.note = to, fmt.Sprintf(format, args...)
	return nil, nil
}

// said is an error for whoever looks: what is wrong and what to do.
type said struct {
	code    int
	message string
	remedy  string
}

func (s *said) Error() string { return s.message }

func notFound(format string, args ...any) error {
	return &said{http.StatusNotFound, fmt.Sprintf(format, args...), "It may have expired, or somebody was faster. Go back and look again."}
}

// shown serves a page to who has the role.
func (c *Console) shown(needs Role, make page) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, ok := c.who(r)
		if !ok {
			http.Redirect(w, r, "/login?next="+template.URLQueryEscaper(r.URL.RequestURI()), http.StatusSeeOther)
			return
		}
		in := &request{Request: r, who: who}
		if r.Method == http.MethodPost {
			r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		}
		var data any
		err := r.ParseForm()
		switch {
		case err != nil:
			err = &said{http.StatusBadRequest, "The form cannot be read.", "Go back and try again."}
		case who.Role < needs:
			err = &said{http.StatusForbidden, "You may look, and not act.", "Ask for the operator's role, or ask an operator."}
		default:
			ctx, cancel := context.WithTimeout(r.Context(), patience)
			defer cancel()
			in.Request = r.WithContext(ctx)
			data, err = make(in)
		}
		c.answer(w, in, data, err)
	})
}

// patience is how long a page may take, a check of a destination included.
const patience = 2 * time.Minute

func (c *Console) answer(w http.ResponseWriter, r *request, data any, err error) {
	if err == nil && r.to != "" {
		c.note(w, r.note)
		http.Redirect(w, r.Request, r.to, http.StatusSeeOther)
		return
	}
	code := http.StatusOK
	if err != nil {
		var known *said
		if !errors.As(err, &known) {
			c.log.Error("page", zap.String("path", r.URL.Path), zap.Error(err))
			known = &said{http.StatusBadGateway, "The queue did not answer as it should.", "Try again in a moment. The console's log says more."}
		}
		code, r.name, data = known.code, "error", map[string]string{"Message": known.message, "Remedy": known.remedy}
	}
	c.render(w, code, r, data)
}
