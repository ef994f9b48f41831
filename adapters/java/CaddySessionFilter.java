package caddysession;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintWriter;
import java.io.UnsupportedEncodingException;
import java.io.Writer;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketAddress;
import java.net.SocketTimeoutException;
import java.net.URLDecoder;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.security.Principal;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collection;
import java.util.Collections;
import java.util.Enumeration;
import java.util.EventListener;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import java.util.logging.Level;
import java.util.logging.Logger;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;

import jakarta.servlet.AsyncContext;
import jakarta.servlet.AsyncEvent;
import jakarta.servlet.AsyncListener;
import jakarta.servlet.DispatcherType;
import jakarta.servlet.Filter;
import jakarta.servlet.FilterChain;
import jakarta.servlet.FilterConfig;
import jakarta.servlet.ServletContext;
import jakarta.servlet.ServletContextEvent;
import jakarta.servlet.ServletContextListener;
import jakarta.servlet.ServletException;
import jakarta.servlet.ServletOutputStream;
import jakarta.servlet.ServletRequest;
import jakarta.servlet.ServletRequestWrapper;
import jakarta.servlet.ServletResponse;
import jakarta.servlet.WriteListener;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletRequestWrapper;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpServletResponseWrapper;
import jakarta.servlet.http.HttpSession;
import jakarta.servlet.http.HttpSessionAttributeListener;
import jakarta.servlet.http.HttpSessionBindingEvent;
import jakarta.servlet.http.HttpSessionEvent;
import jakarta.servlet.http.HttpSessionIdListener;
import jakarta.servlet.http.HttpSessionListener;

/**
 * Has {@code request.getSession()} return the session that Caddy keeps.
 *
 * <p>The data come with the request; what has changed goes into headers of the response, before it
 * begins. So each request has an HttpSession of its own: what a parallel request changes is seen by
 * the next one, and nothing of it is undone.
 *
 * <p>Attributes are what JSON has: String, Boolean, Integer, Long, Short, Byte, Double, Float,
 * BigInteger, BigDecimal, and List and Map of java.util with these and null. Any other is an
 * IllegalArgumentException that names the attribute and the class. Numbers come back in the class
 * that they had, lists as ArrayList, maps as LinkedHashMap.
 *
 * <p>What comes after the response has begun can't be saved. A change of the data is an error in the
 * log that names the attribute; to begin a session, to end it and to change its id is an
 * IllegalStateException.
 *
 * <p>Where the site has the session API, Caddy is asked for what headers can't do: for data that they
 * do not hold, to save at once, and to save what changes after the response has begun, when the request
 * ends. What it refuses is an IllegalStateException, or at the end of the request an error in the log.
 *
 * <p>The filter believes the headers that come, so the application must be reachable through Caddy
 * only. It comes before other filters, for the dispatchers REQUEST, ASYNC and ERROR, and with
 * async-supported. Its parameters are:
 *
 * <ul>
 * <li>listeners: classes that hear of sessions and attributes, with commas between them. The
 *     container does not tell which ones web.xml names, so move them here.
 * <li>user: the data key of the site's "subject". With it, getRemoteUser, getUserPrincipal, login
 *     and logout are about the user whom Caddy knows; "request_headers" must have "user".
 * <li>roles: with user, the data key of a role, or a list of roles, for isUserInRole.
 * <li>required: true refuses requests that did not come through Caddy. Otherwise they have an empty
 *     session that is not kept, and the first one makes a warning.
 * <li>flushMode: immediate has each call that changes the session saved when it returns, by the session
 *     API; on_save, which is the default, with the response.
 * </ul>
 */
public class CaddySessionFilter implements Filter {
    private static final Logger LOG = Logger.getLogger(CaddySessionFilter.class.getName());
    private static final AtomicBoolean WARNED = new AtomicBoolean();

    private static final String CONTROL = "X-Session-Control";
    private static final String SET = "X-Session-Set";
    private static final String PUT = "X-Session-Put";

    /** The data key of what other languages have no use for. */
    private static final String OWN = "_java";

    /** In it: the class of each number that would come back in another one. */
    private static final String TYPES = "types";

    /** In it: the maximum inactive interval, in seconds. */
    private static final String INTERVAL = "interval";

    /** How many characters of data headers may say where there is the session API, which has no limit. */
    private static final int HEADERS = 2048;

    private static final String INTERVAL_WORDS = "maximum inactive interval";

    /** What an interval is, in seconds, where neither the application nor the site has said it. */
    private static final int DEFAULT_INTERVAL = 1800;

    private final List<EventListener> listeners;
    private ServletContext context;
    private boolean required;
    private boolean immediate;
    private String userKey;
    private String rolesKey;

    /** Makes a filter as web.xml does. */
    public CaddySessionFilter() {
        this(new EventListener[0]);
    }

    /** Makes a filter with listeners, beside those of the parameter, in the order of their calls. */
    public CaddySessionFilter(EventListener... listeners) {
        this.listeners = new ArrayList<>(Arrays.asList(listeners));
    }

    @Override
    public void init(FilterConfig config) throws ServletException {
        context = config.getServletContext();
        for (String name : Collections.list(config.getInitParameterNames())) {
            String value = config.getInitParameter(name).trim();
            switch (name) {
                case "listeners":
                    addListeners(value);
                    break;
                case "user":
                    userKey = value;
                    break;
                case "roles":
                    rolesKey = value;
                    break;
                case "required":
                    if (!value.equals("true") && !value.equals("false")) {
                        throw new ServletException("the filter parameter \"required\" is \"" + value + "\": say true or false");
                    }
                    required = value.equals("true");
                    break;
                case "flushMode":
                    if (!value.equals("on_save") && !value.equals("immediate")) {
                        throw new ServletException("the filter parameter \"flushMode\" is \"" + value + "\": say on_save or immediate");
                    }
                    immediate = value.equals("immediate");
                    break;
                default:
                    throw new ServletException("the filter parameter \"" + name
                            + "\" is unknown: there are listeners, user, roles, required and flushMode");
            }
        }
        if (rolesKey != null && userKey == null) {
            throw new ServletException("the filter parameter \"roles\" needs the parameter \"user\"");
        }
    }

    private void addListeners(String names) throws ServletException {
        for (String name : names.split("[\\s,]+")) {
            EventListener listener;
            try {
                ClassLoader loader = Thread.currentThread().getContextClassLoader();
                listener = context.createListener(Class.forName(name, true, loader).asSubclass(EventListener.class));
            } catch (ClassNotFoundException | ClassCastException e) {
                throw new ServletException("the filter parameter \"listeners\" names \"" + name + "\", which is no listener", e);
            }
            listeners.add(listener);
            if (listener instanceof ServletContextListener) {
                ((ServletContextListener) listener).contextInitialized(new ServletContextEvent(context));
            }
        }
    }

    @Override
    public void destroy() {
        each(ServletContextListener.class, listener -> listener.contextDestroyed(new ServletContextEvent(context)));
    }

    @Override
    public void doFilter(ServletRequest request, ServletResponse response, FilterChain chain)
            throws IOException, ServletException {
        if (!(request instanceof HttpServletRequest && response instanceof HttpServletResponse)) {
            chain.doFilter(request, response);
            return;
        }
        Object attribute = request.getAttribute(Visit.class.getName());
        Visit visit = attribute instanceof Visit ? (Visit) attribute : null;
        if (visit != null && (request instanceof Request || request instanceof ServletRequestWrapper
                && ((ServletRequestWrapper) request).isWrapperFor(Request.class))) {
            if (request.getDispatcherType() != DispatcherType.ASYNC) { // a part of a request that is in this filter
                chain.doFilter(request, response);
                return;
            }
        } else {
            if (visit == null) {
                visit = new Visit((HttpServletRequest) request);
                request.setAttribute(Visit.class.getName(), visit);
            }
            visit.response = (HttpServletResponse) response;
            visit.closed = false;
            visit.over = false;
            Response wrapped = new Response(visit);
            request = new Request((HttpServletRequest) request, wrapped, visit);
            response = wrapped;
        }
        boolean returned = false;
        try {
            chain.doFilter(request, response);
            returned = true;
        } finally {
            boolean over = !request.isAsyncStarted();
            visit.end(!returned, over);
            if (over) {
                visit.leave();
            }
        }
    }

    /**
     * Has the session of a request saved now, before the response and after its first byte alike. It does
     * nothing where nothing has changed, and without Caddy.
     *
     * @throws IllegalStateException if it could not be saved, or the site does not have the session API
     */
    public static void save(ServletRequest request) {
        Object visit = request.getAttribute(Visit.class.getName());
        if (!(visit instanceof Visit)) {
            throw new IllegalStateException("can't save the session: the request did not come through the filter");
        }
        ((Visit) visit).saveNow();
    }

    private <T> void each(Class<T> kind, Consumer<T> call) {
        for (EventListener listener : listeners) {
            if (kind.isInstance(listener)) {
                call.accept(kind.cast(listener));
            }
        }
    }

    private static String attribute(String name) {
        return "attribute \"" + name + "\"";
    }

    private static void warnOnce(String message) {
        if (WARNED.compareAndSet(false, true)) {
            LOG.warning(message);
        }
    }

    /** What is known and what has been done of the session while one request is answered. */
    private final class Visit {
        final String id; // of the session that came; null without one
        final long now = System.currentTimeMillis();
        private final boolean proxied;
        private final Api api; // null without one
        private String current; // the id of the session that Caddy has; null for none
        private String newId; // of one that begins; null if it is not known
        private String data; // what Caddy has; null if it has to be asked
        private Long expires;
        private final Long signedIn;
        private final String uri;
        private final Map<String, String> written = new HashMap<>(); // header lines of ours
        private final Set<String> late = new HashSet<>(); // what has been said to be lost

        HttpServletResponse response; // the container's, since those of includes ignore headers
        String user;
        private Session session; // the one that is valid
        private Map<String, Object> sent; // the data as of the last headers
        private boolean ended; // the current session
        private boolean renewed;
        private boolean changed; // possibly
        private boolean failed;
        private boolean told; // Caddy, by the head of the response, which is out
        boolean closed; // by a redirect or an error, whose head the container has not sent yet
        boolean over; // the request, unless its connection goes on with another protocol

        Visit(HttpServletRequest request) throws ServletException {
            id = current = request.getHeader("X-Session-Id");
            data = request.getHeader("X-Session-Data");
            expires = seconds(request, "X-Session-Expires");
            signedIn = seconds(request, "X-Session-Signed-In");
            uri = request.getRequestURI();
            String next = request.getHeader("X-Session-New-Id");
            String url = request.getHeader("X-Session-Api");
            api = url == null ? null : new Api(url);
            proxied = id != null || next != null || api != null;
            if (next == null && api == null) {
                String message = "a request for " + uri + " has no X-Session-New-Id: " + (proxied
                        ? "\"request_headers\" of the site lacks \"new_id\", so new sessions get ids that nobody else knows"
                        : "it did not come through Caddy, or \"request_headers\" of the site lacks \"new_id\"");
                if (!proxied && required) {
                    throw new ServletException(message);
                }
                warnOnce(proxied ? message : message + ". Its session is not kept");
            }
            newId = next;
            if (userKey != null) {
                String encoded = request.getHeader("X-Session-User");
                try {
                    user = encoded == null ? null : URLDecoder.decode(encoded.replace("+", "%2B"), "UTF-8");
                } catch (UnsupportedEncodingException e) {
                    throw new AssertionError(e);
                }
            }
        }

        private Long seconds(HttpServletRequest request, String header) {
            String value = request.getHeader(header);
            return value == null ? null : Long.valueOf(value);
        }

        synchronized Session session(boolean create) {
            if (session == null && current != null && !ended) {
                if (data == null && api == null) {
                    throw new IllegalStateException("the session has no X-Session-Data: \"request_headers\" of the site lacks \"data\"");
                } else if (data == null) {
                    data = Json.text(became(ask("GET", "", null)).get("data"));
                }
                session = new Session(this, current, false, Json.object("X-Session-Data", data));
            }
            if (session == null && create) {
                refuseLate("begin a session");
                session = new Session(this, newId != null ? newId : random(), true, new LinkedHashMap<>());
                changed = true;
                if (api != null && newId == null) {
                    commit(); // for its id
                } else {
                    changed();
                }
                Session begun = session;
                each(HttpSessionListener.class, listener -> listener.sessionCreated(new HttpSessionEvent(begun)));
            }
            return session;
        }

        private String random() {
            byte[] bytes = new byte[16];
            new SecureRandom().nextBytes(bytes);
            return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
        }

        synchronized boolean cameAndValid() {
            return id != null && id.equals(current) && !ended;
        }

        /** Whether it is too late for headers. Containers use the response again when it is over. */
        private boolean tooLate() {
            return over || response.isCommitted();
        }

        synchronized void leave() {
            over = true;
        }

        /** Fails where something can't be saved any more. */
        void refuseLate(String what) {
            if (tooLate()) {
                throw new IllegalStateException("can't " + what + ": the response to " + uri + " has begun");
            }
        }

        /** Notes a change of what the words say. */
        synchronized void change(String what) {
            changed = true;
            if (!asks()) {
                lose(what);
            }
            changed();
            if (over) {
                saveLate();
            }
        }

        /** Says that a change is lost, if it came too late for headers. */
        synchronized void lose(String what) {
            if (tooLate() && proxied && late.add(what)) {
                LOG.log(Level.SEVERE, lost(what), new IllegalStateException("changed here"));
            }
        }

        /** Whether Caddy can be asked: it must have the head first, if that says something. */
        private boolean asks() {
            return api != null && !(closed && !written.isEmpty());
        }

        private String lost(String what) {
            return "the change of the session's " + what + " is lost: it came after the response to " + uri + " had begun";
        }

        synchronized void read(Object value) {
            changed |= value instanceof Map || value instanceof List; // by who reads it
        }

        /** Ends the session at once, where headers can't any more. */
        synchronized void endLate() {
            if (!tooLate() || !asks()) {
                refuseLate("end the session");
                return;
            }
            goOn();
            if (current != null) {
                ask("DELETE", "", null);
            }
            current = null;
        }

        synchronized void invalidated() {
            session = null;
            ended = current != null;
            renewed = false;
            changed();
        }

        synchronized String renew() {
            Session current = session(false);
            if (current == null) {
                throw new IllegalStateException("there is no session whose id could change");
            }
            refuseLate("change the session's id");
            renewed = true;
            changed();
            each(HttpSessionIdListener.class, listener -> listener.sessionIdChanged(new HttpSessionEvent(current), current.getId()));
            return current.getId();
        }

        int defaultInterval() {
            return expires == null ? DEFAULT_INTERVAL : (int) Math.max(1, expires - now / 1000);
        }

        /** The time that the session began, in milliseconds since 1970, or what is nearest to it. */
        long began() {
            return signedIn == null || !cameAndValid() ? now : signedIn * 1000;
        }

        private void changed() {
            if (immediate && asks()) {
                commit();
            } else {
                saveAgain();
            }
        }

        /** Says once more what has changed, if it was said too early. */
        private void saveAgain() {
            if (!written.isEmpty()) {
                save();
            }
        }

        /** Writes the headers, if the response has not begun. What they say may change until then. */
        synchronized void save() {
            if (!proxied || failed || tooLate()) {
                return;
            }
            if (data != null && data.contains("\"" + INTERVAL + "\"")) {
                session(false);
            }
            List<String> control = new ArrayList<>();
            Map<String, Object> set = new LinkedHashMap<>();
            Map<String, Object> put = new LinkedHashMap<>();
            if (ended) {
                control.add(session == null ? "destroy" : "clear");
            } else if (session == null && written.isEmpty()) {
                return; // not used
            } else if (session == null) {
                control.add("destroy"); // it has been said that one begins
            }
            if (session != null) {
                if (renewed && !session.begun) {
                    control.add("renew");
                }
                int maxAge = maxAge();
                if (maxAge > 0) {
                    control.add("max-age=" + maxAge);
                }
                if (changed) {
                    try {
                        Map<String, Object> before = before();
                        sent = session.data(before);
                        Json.difference(before, sent, set, put);
                    } catch (IllegalArgumentException e) {
                        failed = true;
                        throw e;
                    }
                }
                if (control.isEmpty() && written.containsKey(CONTROL)) {
                    control.add(current == null ? "clear" : "no-touch"); // which changes nothing then
                }
            }
            String puts = put.isEmpty() ? null : Json.text(put);
            boolean begins = session != null && current == null && put.isEmpty();
            String sets = set.isEmpty() && !begins ? null : Json.text(set);
            if (api != null && (puts == null ? 0 : puts.length()) + (sets == null ? 0 : sets.length()) > HEADERS) {
                try {
                    commit();
                } catch (IllegalStateException e) {
                    failed = true;
                    throw e;
                }
                save();
                return;
            }
            write(CONTROL, control.isEmpty() ? null : String.join(", ", control));
            write(PUT, puts);
            write(SET, sets);
        }

        private Map<String, Object> before() {
            return current != null && !ended ? Json.object("X-Session-Data", data) : new LinkedHashMap<>();
        }

        synchronized void saveNow() {
            if (!proxied) {
                return;
            } else if (api == null) {
                throw new IllegalStateException("can't save the session before the response to " + uri
                        + ": it has no X-Session-Api, so write \"api\" into the \"session\" block of the site");
            } else if (!asks()) {
                refuseLate("save the session");
            }
            commit();
        }

        /** Has Caddy do at once what headers would say, or could not say any more. */
        private void commit() {
            goOn();
            if (ended && session == null) {
                ask("DELETE", "", null);
                current = null;
            } else if (ended) {
                became(ask("POST", "/clear", null));
                data = "{}";
            } else if (renewed && !session.begun) {
                became(ask("POST", "/renew", null));
            }
            ended = false;
            renewed = false;
            if (session != null) {
                commitData();
                int maxAge = tooLate() ? 0 : maxAge(); // which takes a cookie
                if (maxAge > 0) {
                    became(ask("POST", "/max-age?seconds=" + maxAge, null));
                    session.intervalChanged = false;
                }
            }
            saveAgain();
        }

        private void commitData() {
            if (!changed) {
                return;
            }
            Map<String, Object> before = before();
            Map<String, Object> after = session.data(before);
            Map<String, Object> set = new LinkedHashMap<>();
            Map<String, Object> put = new LinkedHashMap<>();
            Json.difference(before, after, set, put);
            if (!put.isEmpty()) {
                put(before, after, put);
            }
            if (!set.isEmpty() || current == null) {
                became(ask("PATCH", "", set));
            }
            data = Json.text(after);
            sent = null;
        }

        /** Gives keys other values, but for what others have changed within them since. */
        private void put(Map<String, Object> before, Map<String, Object> after, Map<String, Object> put) {
            if (current == null) {
                became(ask("PUT", "", put));
                return;
            }
            for (int tries = 100;; tries--) { // of parallel requests, one has done it each time
                Map<?, ?> now = (Map<?, ?>) ask("GET", "", null).get("data");
                put.replaceAll((key, value) -> Json.merge(before.get(key), after.get(key), now.get(key)));
                try {
                    became(ask("PUT", "", put, "If-Match: " + api.tag));
                    return;
                } catch (Refused e) {
                    if (e.status != 412 || tries == 0) {
                        throw e;
                    }
                }
            }
        }

        /** Goes on from what the head of the response says, if that has begun. */
        private void goOn() {
            if (!tooLate() || written.isEmpty()) {
                return;
            }
            try {
                if (!over) {
                    response.flushBuffer(); // for Caddy to have it
                }
            } catch (IOException e) {
                throw new IllegalStateException("the response to " + uri + " can't be sent: " + e.getMessage(), e);
            }
            told = true;
            written.clear();
            ended = false;
            renewed = false;
            current = session == null ? null : session.id;
            data = sent == null ? data : Json.text(sent);
            sent = null;
        }

        /** Takes over what Caddy says of the session. */
        private Map<String, Object> became(Map<String, Object> answer) {
            current = (String) answer.get("id");
            expires = ((Number) answer.get("expires")).longValue();
            if (current.equals(newId)) {
                newId = null; // no other one gets it
            }
            if (session != null) {
                session.id = current;
            }
            return answer;
        }

        private Map<String, Object> ask(String method, String path, Map<String, Object> body, String... lines) {
            String begun = !told ? "" : path.contains("?") ? "&begun" : "?begun";
            return api.ask(uri, method, path + begun, body, lines);
        }

        /**
         * How many seconds the session is to last, or 0 for what it is. An interval runs again when a
         * tenth of it is over, so that most requests change nothing.
         */
        private int maxAge() {
            Integer interval = session.interval;
            if (interval == null || interval <= 0) {
                return interval != null && session.intervalChanged ? Integer.MAX_VALUE : 0;
            }
            if (session.intervalChanged || expires == null) {
                return interval;
            }
            long left = expires - now / 1000;
            return left < interval - interval / 10 || left > interval + 1 ? interval : 0;
        }

        /** Writes a line of ours before those of the application. */
        private void write(String name, String value) {
            String old = written.get(name);
            if (value == null) {
                if (old == null) {
                    return;
                }
                value = "{}"; // headers can't be removed
            }
            List<String> lines = new ArrayList<>(response.getHeaders(name));
            if (value.equals(old) && lines.contains(old)) {
                return;
            }
            lines.remove(old);
            response.setHeader(name, value);
            for (String line : lines) {
                response.addHeader(name, line);
            }
            written.put(name, value);
        }

        /** Saves before the response is over, as far as is known. */
        synchronized void finish() {
            save();
            saveLate();
        }

        /** Saves what came after the head of the response, or says that it is lost. */
        private void saveLate() {
            if (session == null || !changed || !proxied || !tooLate()) {
                return;
            }
            Map<String, Object> known = sent != null ? sent : before();
            Map<String, Object> now = session.data(before());
            if (Json.equal(known, now)) {
                return;
            }
            String why = "";
            if (asks()) {
                try {
                    commit();
                    return;
                } catch (IllegalStateException e) {
                    why = ": " + e.getMessage();
                }
            }
            Set<String> names = new HashSet<>(known.keySet());
            names.addAll(now.keySet());
            for (String name : names) {
                String what = name.equals(OWN) ? INTERVAL_WORDS : attribute(name);
                if (!Json.equal(known.get(name), now.get(name)) && (!name.equals(OWN) || session.intervalChanged) && late.add(what)) {
                    LOG.severe(lost(what) + why);
                }
            }
        }

        /** Saves at the end of a dispatch; over says that it is the last one. */
        synchronized void end(boolean thrown, boolean over) {
            try {
                save();
                if (over) {
                    saveLate();
                }
            } catch (IllegalArgumentException | IllegalStateException e) {
                if (!thrown && !tooLate()) {
                    throw e;
                }
                LOG.log(Level.SEVERE, "the session is not saved by " + uri, e);
            }
        }
    }

    /** The session, as one request has it. */
    private final class Session implements HttpSession {
        Integer interval;
        boolean intervalChanged;
        private final Visit visit;
        private String id;
        private final boolean begun;
        private final Map<String, Object> attributes;
        private boolean valid = true;

        Session(Visit visit, String id, boolean begun, Map<String, Object> data) {
            this.visit = visit;
            this.id = id;
            this.begun = begun;
            attributes = data;
            Map<?, ?> own = own(data);
            attributes.remove(OWN);
            Object types = own.get(TYPES);
            if (types instanceof Map) {
                Numbers.restore(attributes, types);
            }
            Object stored = own.get(INTERVAL);
            interval = stored instanceof Integer ? (Integer) stored : null;
        }

        /** A copy of the data as they are to be stored. */
        Map<String, Object> data(Map<String, Object> before) {
            synchronized (visit) {
                Map<String, Object> data = new LinkedHashMap<>();
                Map<String, Object> types = new LinkedHashMap<>();
                attributes.forEach((name, value) -> {
                    data.put(name, Json.copy(name, value));
                    Object type = Numbers.type(value);
                    if (type != null) {
                        types.put(name, type);
                    }
                });
                Map<String, Object> own = own(before);
                if (own.get(TYPES) instanceof Map) { // of what others have changed since: not ours to remove
                    ((Map<?, ?>) own.get(TYPES)).forEach((name, type) -> {
                        if (!types.containsKey(name) && Json.equal(before.get(name), data.get(name))) {
                            types.put((String) name, type);
                        }
                    });
                }
                own.remove(TYPES);
                if (!types.isEmpty()) {
                    own.put(TYPES, types);
                }
                if (interval != null) {
                    own.put(INTERVAL, interval);
                }
                if (!own.isEmpty()) {
                    data.put(OWN, own);
                }
                return data;
            }
        }

        private Map<String, Object> own(Map<String, Object> data) {
            Map<String, Object> own = new LinkedHashMap<>();
            if (data.get(OWN) instanceof Map) {
                ((Map<?, ?>) data.get(OWN)).forEach((name, value) -> own.put((String) name, value));
            }
            return own;
        }

        private void needValid() {
            if (!valid) {
                throw new IllegalStateException("the session is invalidated");
            }
        }

        @Override
        public String getId() {
            return id;
        }

        @Override
        public boolean isNew() {
            needValid();
            return begun;
        }

        @Override
        public long getCreationTime() {
            needValid();
            return begun ? visit.now : visit.began();
        }

        @Override
        public long getLastAccessedTime() {
            needValid();
            return visit.now;
        }

        @Override
        public ServletContext getServletContext() {
            return context;
        }

        @Override
        public int getMaxInactiveInterval() {
            return interval != null ? interval : begun ? DEFAULT_INTERVAL : visit.defaultInterval();
        }

        @Override
        public void setMaxInactiveInterval(int seconds) {
            interval = seconds;
            intervalChanged = true;
            visit.change(INTERVAL_WORDS);
            if (seconds <= 0) {
                visit.lose(INTERVAL_WORDS); // no later request can tell that it was not asked for
            }
        }

        @Override
        public Object getAttribute(String name) {
            synchronized (visit) {
                needValid();
                Object value = attributes.get(name);
                visit.read(value);
                return value;
            }
        }

        @Override
        public Enumeration<String> getAttributeNames() {
            return Collections.enumeration(names());
        }

        private List<String> names() {
            synchronized (visit) {
                needValid();
                List<String> names = new ArrayList<>(attributes.keySet());
                names.removeIf(name -> attributes.get(name) == null); // to Java these are not there
                return names;
            }
        }

        @Override
        public void setAttribute(String name, Object value) {
            if (value == null) {
                removeAttribute(name);
                return;
            }
            if (name == null || name.equals(OWN)) {
                throw new IllegalArgumentException("a session attribute can't have the name " + name);
            }
            Json.copy(name, value);
            Object old;
            synchronized (visit) {
                needValid();
                old = attributes.put(name, value);
                visit.change(attribute(name));
            }
            if (old == null) {
                each(HttpSessionAttributeListener.class, listener -> listener.attributeAdded(new HttpSessionBindingEvent(this, name, value)));
            } else {
                each(HttpSessionAttributeListener.class, listener -> listener.attributeReplaced(new HttpSessionBindingEvent(this, name, old)));
            }
        }

        @Override
        public void removeAttribute(String name) {
            Object old;
            synchronized (visit) {
                needValid();
                if (!attributes.containsKey(name)) {
                    return;
                }
                old = attributes.remove(name);
                visit.change(attribute(name));
            }
            removed(name, old);
        }

        private void removed(String name, Object old) {
            if (old != null) {
                each(HttpSessionAttributeListener.class, listener -> listener.attributeRemoved(new HttpSessionBindingEvent(this, name, old)));
            }
        }

        @Override
        public void invalidate() {
            needValid();
            visit.endLate();
            each(HttpSessionListener.class, listener -> listener.sessionDestroyed(new HttpSessionEvent(this)));
            for (String name : names()) {
                removed(name, attributes.remove(name));
            }
            valid = false;
            visit.invalidated();
        }

        // Older versions of the interface have these. The lines with "javax" are for that variant alone.

        public Object getValue(String name) {
            return getAttribute(name);
        }

        public String[] getValueNames() {
            return names().toArray(new String[0]);
        }

        public void putValue(String name, Object value) {
            setAttribute(name, value);
        }

        public void removeValue(String name) {
            removeAttribute(name);
        }

        //javax public jakarta.servlet.http.HttpSessionContext getSessionContext() { return null; }
    }

    /** A request whose session is Caddy's. */
    private final class Request extends HttpServletRequestWrapper {
        private final Response response;
        private final Visit visit;
        private AsyncContext async;

        Request(HttpServletRequest request, Response response, Visit visit) {
            super(request);
            this.response = response;
            this.visit = visit;
        }

        @Override
        public HttpSession getSession() {
            return getSession(true);
        }

        @Override
        public HttpSession getSession(boolean create) {
            return visit.session(create);
        }

        @Override
        public String changeSessionId() {
            return visit.renew();
        }

        @Override
        public String getRequestedSessionId() {
            return visit.id;
        }

        @Override
        public boolean isRequestedSessionIdValid() {
            return visit.cameAndValid();
        }

        @Override
        public boolean isRequestedSessionIdFromCookie() {
            return visit.id != null;
        }

        @Override
        public boolean isRequestedSessionIdFromURL() {
            return false;
        }

        public boolean isRequestedSessionIdFromUrl() {
            return false;
        }

        @Override
        public String getRemoteUser() {
            return userKey == null ? super.getRemoteUser() : visit.user;
        }

        @Override
        public Principal getUserPrincipal() {
            if (userKey == null) {
                return super.getUserPrincipal();
            }
            return visit.user == null ? null : new User(visit.user);
        }

        @Override
        public boolean isUserInRole(String role) {
            if (rolesKey == null) {
                return super.isUserInRole(role);
            }
            HttpSession session = visit.user == null ? null : getSession(false);
            Object roles = session == null ? null : session.getAttribute(rolesKey);
            return roles instanceof Collection ? ((Collection<?>) roles).contains(role) : roles instanceof String && roles.equals(role);
        }

        @Override
        public void login(String name, String password) throws ServletException {
            super.login(name, password);
            if (userKey != null) {
                getSession().setAttribute(userKey, name);
                visit.user = name;
            }
        }

        @Override
        public void logout() throws ServletException {
            super.logout();
            HttpSession session = userKey == null ? null : getSession(false);
            if (session != null) {
                session.removeAttribute(userKey);
            }
            visit.user = null;
        }

        @Override
        public AsyncContext startAsync() {
            return startAsync(this, response);
        }

        @Override
        public AsyncContext startAsync(ServletRequest request, ServletResponse response) {
            async = new Async(super.startAsync(request, response), visit);
            return async;
        }

        @Override
        public AsyncContext getAsyncContext() {
            return async != null ? async : super.getAsyncContext();
        }
    }

    private static final class User implements Principal {
        private final String name;

        User(String name) {
            this.name = name;
        }

        @Override
        public String getName() {
            return name;
        }

        @Override
        public boolean equals(Object other) {
            return other instanceof User && ((User) other).name.equals(name);
        }

        @Override
        public int hashCode() {
            return name.hashCode();
        }

        @Override
        public String toString() {
            return name;
        }
    }

    /** An AsyncContext that saves the session before the response is over. */
    private static final class Async implements AsyncContext, AsyncListener {
        private final AsyncContext context;
        private final Visit visit;

        Async(AsyncContext context, Visit visit) {
            this.context = context;
            this.visit = visit;
            context.addListener(this);
        }

        @Override
        public ServletRequest getRequest() {
            return context.getRequest();
        }

        @Override
        public ServletResponse getResponse() {
            return context.getResponse();
        }

        @Override
        public boolean hasOriginalRequestAndResponse() {
            return context.hasOriginalRequestAndResponse();
        }

        @Override
        public void dispatch() {
            visit.save();
            context.dispatch();
        }

        @Override
        public void dispatch(String path) {
            visit.save();
            context.dispatch(path);
        }

        @Override
        public void dispatch(ServletContext of, String path) {
            visit.save();
            context.dispatch(of, path);
        }

        @Override
        public void complete() {
            visit.end(false, true);
            context.complete();
        }

        @Override
        public void start(Runnable run) {
            context.start(run);
        }

        @Override
        public void addListener(AsyncListener listener) {
            context.addListener(listener);
        }

        @Override
        public void addListener(AsyncListener listener, ServletRequest request, ServletResponse response) {
            context.addListener(listener, request, response);
        }

        @Override
        public <T extends AsyncListener> T createListener(Class<T> kind) throws ServletException {
            return context.createListener(kind);
        }

        @Override
        public void setTimeout(long milliseconds) {
            context.setTimeout(milliseconds);
        }

        @Override
        public long getTimeout() {
            return context.getTimeout();
        }

        @Override
        public void onComplete(AsyncEvent event) {
            visit.leave();
        }

        @Override
        public void onStartAsync(AsyncEvent event) {}

        @Override
        public void onTimeout(AsyncEvent event) {
            visit.end(true, true);
        }

        @Override
        public void onError(AsyncEvent event) {
            visit.end(true, true);
        }
    }

    /** A response that has the session saved before it begins. */
    private static final class Response extends HttpServletResponseWrapper {
        private final Visit visit;
        private long count; // of bytes since the buffer was empty
        private long length = Long.MAX_VALUE; // as said to the client
        private ServletOutputStream stream;
        private PrintWriter writer;

        Response(Visit visit) {
            super(visit.response);
            this.visit = visit;
        }

        /**
         * Saves if so many bytes may be the ones with which the response begins: containers begin when
         * the buffer or the whole length is full, and some at a write of a quarter of the buffer.
         */
        void writes(long bytes) {
            long after = count + bytes;
            if (after >= length) {
                visit.finish();
            } else if (!visit.response.isCommitted()) {
                long size = Math.max(1, getBufferSize());
                if (bytes >= size / 4 || after / size > count / size) {
                    visit.save();
                }
            }
            count = after;
        }

        @Override
        public ServletOutputStream getOutputStream() throws IOException {
            ServletOutputStream under = super.getOutputStream(); // fails after getWriter
            if (stream == null) {
                stream = new Stream(under, this);
            }
            return stream;
        }

        @Override
        public PrintWriter getWriter() throws IOException {
            PrintWriter under = super.getWriter();
            if (writer == null) {
                writer = new PrintWriter(new Text(under, this)) {
                    @Override
                    public boolean checkError() {
                        return super.checkError() || under.checkError();
                    }
                };
            }
            return writer;
        }

        @Override
        public void flushBuffer() throws IOException {
            visit.save();
            super.flushBuffer();
        }

        @Override
        public void resetBuffer() {
            super.resetBuffer();
            count = 0;
        }

        @Override
        public void reset() {
            super.reset();
            count = 0;
            length = Long.MAX_VALUE;
            stream = null;
            writer = null;
        }

        @Override
        public void sendError(int status) throws IOException {
            visit.save();
            super.sendError(status);
            visit.closed = true;
        }

        @Override
        public void sendError(int status, String message) throws IOException {
            visit.save();
            super.sendError(status, message);
            visit.closed = true;
        }

        @Override
        public void sendRedirect(String location) throws IOException {
            visit.save();
            super.sendRedirect(location);
            visit.closed = true;
        }

        // Servlet 6.1 has these three, which the wrapper of 6.0 can't hand on.

        public void sendRedirect(String location, int status) throws IOException {
            sendRedirect(location, status, true);
        }

        public void sendRedirect(String location, boolean clearBuffer) throws IOException {
            sendRedirect(location, SC_FOUND, clearBuffer);
        }

        public void sendRedirect(String location, int status, boolean clearBuffer) throws IOException {
            if (clearBuffer) {
                resetBuffer();
            }
            setStatus(status);
            setHeader("Location", location);
            flushBuffer();
        }

        @Override
        public void setContentLength(int length) {
            super.setContentLength(length);
            this.length = length;
        }

        @Override
        public void setContentLengthLong(long length) {
            super.setContentLengthLong(length);
            this.length = length;
        }

        @Override
        public void setHeader(String name, String value) {
            super.setHeader(name, value);
            noteLength(name, value);
        }

        @Override
        public void addHeader(String name, String value) {
            super.addHeader(name, value);
            noteLength(name, value);
        }

        @Override
        public void setIntHeader(String name, int value) {
            super.setIntHeader(name, value);
            noteLength(name, Integer.toString(value));
        }

        @Override
        public void addIntHeader(String name, int value) {
            super.addIntHeader(name, value);
            noteLength(name, Integer.toString(value));
        }

        private void noteLength(String name, String value) {
            if ("Content-Length".equalsIgnoreCase(name) && value != null && value.matches("[0-9]{1,18}")) {
                length = Long.parseLong(value);
            }
        }

        @Override
        public String encodeURL(String url) {
            return url;
        }

        @Override
        public String encodeRedirectURL(String url) {
            return url;
        }

        public String encodeUrl(String url) {
            return url;
        }

        public String encodeRedirectUrl(String url) {
            return url;
        }
    }

    private static final class Stream extends ServletOutputStream {
        private final ServletOutputStream under;
        private final Response response;

        Stream(ServletOutputStream under, Response response) {
            this.under = under;
            this.response = response;
        }

        @Override
        public void write(int b) throws IOException {
            response.writes(1);
            under.write(b);
        }

        @Override
        public void write(byte[] bytes, int offset, int length) throws IOException {
            response.writes(length);
            under.write(bytes, offset, length);
        }

        @Override
        public void flush() throws IOException {
            response.visit.save();
            under.flush();
        }

        @Override
        public void close() throws IOException {
            response.visit.finish();
            under.close();
        }

        @Override
        public boolean isReady() {
            return under.isReady();
        }

        @Override
        public void setWriteListener(WriteListener listener) {
            under.setWriteListener(listener);
        }
    }

    private static final class Text extends Writer {
        private final PrintWriter under;
        private final Response response;
        private final Charset charset;
        private final boolean narrow; // a byte for each character

        Text(PrintWriter under, Response response) {
            this.under = under;
            this.response = response;
            charset = Charset.forName(response.getCharacterEncoding());
            narrow = charset.canEncode() && charset.newEncoder().maxBytesPerChar() == 1;
        }

        private long bytes(CharSequence text) {
            if (narrow) {
                return text.length();
            } else if (charset != StandardCharsets.UTF_8) {
                return text.toString().getBytes(charset).length;
            }
            long bytes = text.length();
            for (int i = 0; i < text.length(); i++) {
                char c = text.charAt(i);
                bytes += c < 0x80 ? 0 : c < 0x800 || Character.isSurrogate(c) ? 1 : 2;
            }
            return bytes;
        }

        @Override
        public void write(char[] text, int offset, int length) {
            response.writes(bytes(CharBuffer.wrap(text, offset, length)));
            under.write(text, offset, length);
        }

        @Override
        public void write(String text, int offset, int length) {
            response.writes(bytes(CharBuffer.wrap(text, offset, offset + length)));
            under.write(text, offset, length);
        }

        @Override
        public void flush() {
            response.visit.save();
            under.flush();
        }

        @Override
        public void close() {
            response.visit.finish();
            under.close();
        }
    }

    /**
     * The classes of numbers. JSON has one kind; the smallest of Integer, Long, BigInteger, Double and
     * BigDecimal that holds a number is what it comes back as. The type of a value is null if that is
     * right, a class's name, or a map of types by key or index.
     */
    private static final class Numbers {
        /**
         * How many digits a number may have. A longer one, which another application has put there, is
         * the Double nearest to it: the time that it takes grows with the square of its length, and an
         * exponent makes a long one of a short text.
         */
        private static final int DIGITS = 2500;

        static Number parse(String text) {
            if (text.length() > DIGITS) {
                return nearest(text);
            } else if (text.matches("-?[0-9]+")) {
                BigInteger integer = new BigInteger(text);
                if (integer.bitLength() < 32) {
                    return integer.intValue();
                } else if (integer.bitLength() < 64) {
                    return integer.longValue();
                }
                return integer;
            }
            BigDecimal decimal;
            try {
                decimal = new BigDecimal(text);
            } catch (NumberFormatException e) {
                return nearest(text); // its exponent has more than an int
            }
            double value = decimal.doubleValue();
            if (!Double.isInfinite(value) && new BigDecimal(Double.toString(value)).compareTo(decimal) == 0) {
                return value;
            }
            return decimal;
        }

        private static Number nearest(String text) {
            double value = Double.parseDouble(text);
            return Math.max(-Double.MAX_VALUE, Math.min(value, Double.MAX_VALUE));
        }

        static boolean known(Object value) {
            return value instanceof Integer || value instanceof Long || value instanceof Short || value instanceof Byte
                    || value instanceof Double || value instanceof Float
                    || value.getClass() == BigInteger.class || value.getClass() == BigDecimal.class;
        }

        static Object type(Object value) {
            Map<String, Object> types = new LinkedHashMap<>();
            if (value instanceof Number) {
                return parse(value.toString()).getClass() == value.getClass() ? null : value.getClass().getSimpleName();
            } else if (value instanceof Map) {
                ((Map<?, ?>) value).forEach((key, member) -> put(types, (String) key, type(member)));
            } else if (value instanceof List) {
                int i = 0;
                for (Object element : (List<?>) value) {
                    put(types, Integer.toString(i++), type(element));
                }
            }
            return types.isEmpty() ? null : types;
        }

        private static void put(Map<String, Object> types, String key, Object type) {
            if (type != null) {
                types.put(key, type);
            }
        }

        /** Returns the value with the types, as far as these fit: others may have changed it since. */
        static Object restore(Object value, Object types) {
            if (value instanceof Number && types instanceof String) {
                return convert((Number) value, (String) types);
            } else if (value instanceof Map && types instanceof Map) {
                @SuppressWarnings("unchecked") // as it has been parsed
                Map<String, Object> map = (Map<String, Object>) value;
                ((Map<?, ?>) types).forEach((key, type) -> map.computeIfPresent((String) key, (k, member) -> restore(member, type)));
            } else if (value instanceof List && types instanceof Map) {
                @SuppressWarnings("unchecked")
                List<Object> list = (List<Object>) value;
                list.replaceAll(new UnaryOperator<Object>() {
                    private int i;

                    @Override
                    public Object apply(Object element) {
                        return restore(element, ((Map<?, ?>) types).get(Integer.toString(i++)));
                    }
                });
            }
            return value;
        }

        private static Number convert(Number value, String type) {
            BigDecimal decimal = new BigDecimal(value.toString());
            try {
                if (Math.abs((long) decimal.scale()) > DIGITS) {
                    return value;
                }
                switch (type) {
                    case "Long":
                        return decimal.longValueExact();
                    case "Short":
                        return decimal.shortValueExact();
                    case "Byte":
                        return decimal.byteValueExact();
                    case "BigInteger":
                        return decimal.toBigIntegerExact();
                    case "BigDecimal":
                        return decimal;
                    case "Double":
                        return Double.isInfinite(decimal.doubleValue()) ? value : (Number) decimal.doubleValue();
                    case "Float":
                        return Float.isInfinite(decimal.floatValue()) ? value : (Number) decimal.floatValue();
                    default:
                        return value;
                }
            } catch (ArithmeticException e) {
                return value;
            }
        }
    }

    /** An answer of the session API that is none. */
    private static final class Refused extends IllegalStateException {
        private static final long serialVersionUID = 1;
        final int status;

        Refused(int status, String message) {
            super(message);
            this.status = status;
        }
    }

    /**
     * The session API, for one request. Errors do not have its URL in them, which is a secret.
     * HttpURLConnection knows neither PATCH nor Unix sockets, and HttpClient is of Java 11.
     */
    private static final class Api {
        private static final Pattern URL = Pattern.compile("http(s|\\+unix)?://([^/\\s]+?)(?::([0-9]{1,5}))?(/[\\w-]+)");
        private static final Pattern HEAD = Pattern.compile("(?i)^HTTP/1\\.[01] ([0-9]{3})(?:(?s:.)*?\r\netag: *([^\r\n]*))?");
        private static final int CONNECT = 5000; // milliseconds
        private static final int ANSWER = 30000; // milliseconds without a byte

        String tag; // of the session, in the last answer
        private final String url;

        Api(String url) {
            this.url = url;
        }

        /** Returns what is answered, an empty map for nothing. The request that is named is the client's. */
        Map<String, Object> ask(String of, String method, String path, Map<String, Object> body, String... lines) {
            Matcher parts = URL.matcher(url);
            if (!parts.matches()) {
                throw new IllegalStateException("X-Session-Api of " + of + " is no URL of a session API");
            }
            boolean unix = "+unix".equals(parts.group(1));
            String port = parts.group(3);
            // Of HTTP/1.0, an answer ends with the connection.
            StringBuilder request = new StringBuilder(method + " " + parts.group(4) + path + " HTTP/1.0\r\nHost: "
                    + (unix ? "localhost" : parts.group(2) + (port == null ? "" : ":" + port)) + "\r\n");
            for (String line : lines) {
                request.append(line).append("\r\n");
            }
            if (body == null) {
                request.append("\r\n");
            } else {
                String text = Json.text(body);
                request.append("Content-Type: application/json\r\nContent-Length: " + text.length() + "\r\n\r\n").append(text);
            }
            byte[] bytes = request.toString().getBytes(StandardCharsets.US_ASCII);
            String answer;
            try {
                answer = new String(unix ? byUnix(parts.group(2), bytes) : byTCP("s".equals(parts.group(1)), parts.group(2), port, bytes),
                        StandardCharsets.UTF_8);
            } catch (IOException e) {
                throw new IllegalStateException("the session API does not answer " + method + " of " + of + ": " + e.getMessage(), e);
            }
            String[] halves = answer.split("\r\n\r\n", 2);
            Matcher head = HEAD.matcher(halves[0]);
            if (halves.length < 2 || !head.find()) {
                throw new IllegalStateException("the session API does not answer " + method + " of " + of + ": the connection was closed");
            }
            int status = Integer.parseInt(head.group(1));
            tag = head.group(2);
            String text = halves[1].trim();
            Map<String, Object> object = text.isEmpty() ? new LinkedHashMap<>() : Json.object("the answer of the session API", text);
            if (status >= 300) {
                throw new Refused(status, "the session API answers " + method + " " + (path.startsWith("/") ? "" : "/") + path
                        + " of " + of + " with " + status + ": " + object.get("error"));
            }
            return object;
        }

        private static byte[] byTCP(boolean tls, String host, String port, byte[] request) throws IOException {
            try (Socket plain = new Socket()) {
                String name = host.replaceAll("^\\[|\\]$", "");
                int number = port == null ? tls ? 443 : 80 : Integer.parseInt(port);
                plain.connect(new InetSocketAddress(name, number), CONNECT);
                plain.setSoTimeout(ANSWER);
                Socket socket = plain;
                if (tls) {
                    SSLSocket encrypted = (SSLSocket) ((SSLSocketFactory) SSLSocketFactory.getDefault()).createSocket(plain, name, number, true);
                    SSLParameters parameters = encrypted.getSSLParameters();
                    parameters.setEndpointIdentificationAlgorithm("HTTPS");
                    encrypted.setSSLParameters(parameters);
                    encrypted.startHandshake();
                    socket = encrypted;
                }
                try {
                    socket.getOutputStream().write(request);
                } catch (SocketTimeoutException e) {
                    throw e;
                } catch (IOException e) {
                    // An answer may have come before all was read.
                }
                ByteArrayOutputStream answer = new ByteArrayOutputStream();
                InputStream in = socket.getInputStream();
                byte[] bytes = new byte[8192];
                for (int n = in.read(bytes); n >= 0; n = in.read(bytes)) {
                    answer.write(bytes, 0, n);
                }
                return answer.toByteArray();
            }
        }

        private static byte[] byUnix(String path, byte[] request) throws IOException {
            SocketAddress address;
            try { // Java 16 has it
                address = (SocketAddress) Class.forName("java.net.UnixDomainSocketAddress").getMethod("of", String.class)
                        .invoke(null, URLDecoder.decode(path.replace("+", "%2B"), "UTF-8"));
            } catch (ReflectiveOperationException e) {
                throw new IOException("it is on a Unix socket, which takes Java 16 or later; this is Java "
                        + System.getProperty("java.version") + ", so let \"api\" in the Caddyfile listen on 127.0.0.1:PORT", e);
            }
            try (SocketChannel channel = SocketChannel.open(address); Selector selector = Selector.open()) {
                channel.configureBlocking(false);
                SelectionKey key = channel.register(selector, SelectionKey.OP_READ | SelectionKey.OP_WRITE);
                ByteBuffer out = ByteBuffer.wrap(request);
                ByteBuffer in = ByteBuffer.allocate(8192);
                ByteArrayOutputStream answer = new ByteArrayOutputStream();
                for (;;) {
                    if (selector.select(ANSWER) == 0) {
                        throw new SocketTimeoutException("no answer came in time");
                    }
                    selector.selectedKeys().clear();
                    if (out.hasRemaining()) {
                        try {
                            channel.write(out);
                        } catch (IOException e) {
                            out.position(out.limit()); // an answer may have come before all was read
                        }
                    }
                    if (!out.hasRemaining()) {
                        key.interestOps(SelectionKey.OP_READ);
                    }
                    int n = channel.read(in);
                    if (n < 0) {
                        return answer.toByteArray();
                    }
                    answer.write(in.array(), 0, n);
                    in.position(0);
                }
            }
        }
    }

    /** JSON as Caddy has it: objects are maps, lists are lists. */
    private static final class Json {
        private static final int LEVELS = 32; // as Caddy has it; the data are the first

        private final String text;
        private int at;

        private Json(String text) {
            this.text = text;
        }

        /** Parses an object. What Caddy sends is well-formed; anything else fails. */
        static Map<String, Object> object(String of, String text) {
            Json json = new Json(text);
            try {
                Object value = json.value();
                if (value instanceof Map && json.at == text.length()) {
                    @SuppressWarnings("unchecked") // as value makes it
                    Map<String, Object> object = (Map<String, Object>) value;
                    return object;
                }
            } catch (StringIndexOutOfBoundsException | NumberFormatException e) {
                // Said below, without the data.
            }
            throw new IllegalStateException(of + " is no JSON object, at character " + json.at + ": it is not from Caddy");
        }

        private char next() {
            while (" \t\r\n".indexOf(text.charAt(at)) >= 0) {
                at++;
            }
            return text.charAt(at);
        }

        private boolean skip(char c) {
            boolean there = next() == c;
            at += there ? 1 : 0;
            return there;
        }

        private void need(char c) {
            if (!skip(c)) {
                throw new NumberFormatException();
            }
        }

        private Object value() {
            switch (next()) {
                case '{':
                    at++;
                    Map<String, Object> object = new LinkedHashMap<>();
                    if (skip('}')) {
                        return object;
                    }
                    do {
                        need('"');
                        String key = string();
                        need(':');
                        object.put(key, value());
                    } while (skip(','));
                    need('}');
                    return object;
                case '[':
                    at++;
                    List<Object> list = new ArrayList<>();
                    if (skip(']')) {
                        return list;
                    }
                    do {
                        list.add(value());
                    } while (skip(','));
                    need(']');
                    return list;
                case '"':
                    at++;
                    return string();
                case 't':
                    return word("true", true);
                case 'f':
                    return word("false", false);
                case 'n':
                    return word("null", null);
                default:
                    int from = at;
                    while (at < text.length() && "+-.0123456789Ee".indexOf(text.charAt(at)) >= 0) {
                        at++;
                    }
                    return Numbers.parse(text.substring(from, at));
            }
        }

        private Object word(String word, Object value) {
            if (!text.startsWith(word, at)) {
                throw new NumberFormatException();
            }
            at += word.length();
            return value;
        }

        private String string() {
            StringBuilder string = new StringBuilder();
            for (;;) {
                char c = text.charAt(at++);
                if (c == '"') {
                    return string.toString();
                } else if (c != '\\') {
                    string.append(c);
                    continue;
                }
                c = text.charAt(at++);
                int escape = "bfnrt".indexOf(c);
                if (escape >= 0) {
                    string.append("\b\f\n\r\t".charAt(escape));
                } else if (c == 'u') {
                    string.append((char) Integer.parseInt(text.substring(at, at + 4), 16));
                    at += 4;
                } else {
                    string.append(c);
                }
            }
        }

        static String text(Object value) {
            StringBuilder out = new StringBuilder();
            write(value, out);
            return out.toString();
        }

        private static void write(Object value, StringBuilder out) {
            String comma = "";
            if (value instanceof String) {
                out.append('"');
                for (char c : ((String) value).toCharArray()) {
                    if (c == '"' || c == '\\') {
                        out.append('\\').append(c);
                    } else if (c < 0x20 || c > 0x7e) {
                        out.append("\\u").append(Integer.toHexString(0x10000 | c), 1, 5);
                    } else {
                        out.append(c);
                    }
                }
                out.append('"');
            } else if (value instanceof Map) {
                out.append('{');
                for (Map.Entry<?, ?> member : ((Map<?, ?>) value).entrySet()) {
                    out.append(comma);
                    write(member.getKey(), out);
                    out.append(':');
                    write(member.getValue(), out);
                    comma = ",";
                }
                out.append('}');
            } else if (value instanceof List) {
                out.append('[');
                for (Object element : (List<?>) value) {
                    out.append(comma);
                    write(element, out);
                    comma = ",";
                }
                out.append(']');
            } else {
                out.append(value);
            }
        }

        /** Copies the value of an attribute. Fails if it has something that a session can't keep. */
        static Object copy(String name, Object value) {
            return copy(name, name, value, 2);
        }

        private static Object copy(String name, String path, Object value, int level) {
            if (value == null || value instanceof String || value instanceof Boolean) {
                return value;
            } else if (value instanceof Number && Numbers.known(value)) {
                if (value instanceof Double && !Double.isFinite((Double) value) || value instanceof Float && !Float.isFinite((Float) value)) {
                    throw refused(name, path, value.toString());
                } else if (value.toString().length() > Numbers.DIGITS) {
                    throw refused(name, path, "a number of more than " + Numbers.DIGITS + " digits");
                }
                return value;
            }
            String kind = value.getClass().getName();
            if (!(value instanceof Map || value instanceof List) || !kind.startsWith("java.")) {
                throw refused(name, path, "a " + kind);
            } else if (level > LEVELS) {
                throw refused(name, path, "in itself, or deeper than " + LEVELS + " levels");
            }
            if (value instanceof List) {
                List<Object> list = new ArrayList<>();
                for (Object element : (List<?>) value) {
                    list.add(copy(name, path + "[" + list.size() + "]", element, level + 1));
                }
                return list;
            }
            Map<String, Object> map = new LinkedHashMap<>();
            for (Map.Entry<?, ?> member : ((Map<?, ?>) value).entrySet()) {
                Object key = member.getKey();
                if (!(key instanceof String)) {
                    throw refused(name, path, "a map with a key that is "
                            + (key == null ? "null" : "a " + key.getClass().getName()));
                }
                map.put((String) key, copy(name, path + "." + key, member.getValue(), level + 1));
            }
            return map;
        }

        private static IllegalArgumentException refused(String name, String path, String what) {
            return new IllegalArgumentException("the session can't keep the attribute \"" + name + "\": " + path + " is " + what
                    + ". It keeps what JSON has: String, Boolean, numbers, and List and Map of java.util");
        }

        /** Whether two values are the same to JSON, where 1 is 1.0 and the order of keys is nothing. */
        static boolean equal(Object a, Object b) {
            if (a instanceof Number && b instanceof Number) {
                return new BigDecimal(a.toString()).compareTo(new BigDecimal(b.toString())) == 0;
            } else if (a instanceof Map && b instanceof Map) {
                Map<?, ?> x = (Map<?, ?>) a;
                Map<?, ?> y = (Map<?, ?>) b;
                return x.keySet().equals(y.keySet()) && x.keySet().stream().allMatch(key -> equal(x.get(key), y.get(key)));
            } else if (a instanceof List && b instanceof List) {
                List<?> x = (List<?>) a;
                List<?> y = (List<?>) b;
                for (int i = 0; i < x.size() && i < y.size(); i++) {
                    if (!equal(x.get(i), y.get(i))) {
                        return false;
                    }
                }
                return x.size() == y.size();
            }
            return a == null ? b == null : a.equals(b);
        }

        /** Finds the patch that makes one object of another, and the keys whose change no patch can say. */
        static void difference(Map<String, Object> before, Map<String, Object> after, Map<String, Object> set, Map<String, Object> put) {
            Set<String> keys = new LinkedHashSet<>(before.keySet());
            keys.addAll(after.keySet());
            for (String key : keys) {
                Map<String, Object> patch = new LinkedHashMap<>();
                if (patch(only(key, before), only(key, after), patch)) {
                    set.putAll(patch);
                } else {
                    put.put(key, after.get(key));
                }
            }
        }

        /** Makes of what others have now what it is with the change from before to after. */
        static Object merge(Object before, Object after, Object now) {
            if (!(before instanceof Map && after instanceof Map && now instanceof Map)) {
                return after;
            }
            Map<?, ?> old = (Map<?, ?>) before;
            Map<Object, Object> merged = new LinkedHashMap<>((Map<?, ?>) now);
            merged.keySet().removeIf(key -> old.containsKey(key) && !((Map<?, ?>) after).containsKey(key));
            ((Map<?, ?>) after).forEach((key, value) -> {
                if (!old.containsKey(key) || !equal(old.get(key), value)) {
                    merged.put(key, merge(old.get(key), value, ((Map<?, ?>) now).get(key)));
                }
            });
            return merged;
        }

        private static Map<String, Object> only(String key, Map<String, Object> of) {
            return of.containsKey(key) ? Collections.singletonMap(key, of.get(key)) : Collections.emptyMap();
        }

        private static boolean sayable(Object value) {
            return value != null && (!(value instanceof Map) || ((Map<?, ?>) value).values().stream().allMatch(Json::sayable));
        }

        /** Fills in the merge patch between two objects. Returns whether there is one. */
        private static boolean patch(Map<?, ?> before, Map<?, ?> after, Map<String, Object> patch) {
            for (Object key : before.keySet()) {
                if (!after.containsKey(key)) {
                    patch.put((String) key, null);
                }
            }
            for (Map.Entry<?, ?> member : after.entrySet()) {
                Object old = before.get(member.getKey());
                Object value = member.getValue();
                if (before.containsKey(member.getKey()) && equal(old, value)) {
                    continue;
                }
                Map<String, Object> inner = new LinkedHashMap<>();
                if (old instanceof Map && value instanceof Map) {
                    if (!patch((Map<?, ?>) old, (Map<?, ?>) value, inner)) {
                        return false;
                    }
                    value = inner;
                } else if (!sayable(value)) {
                    return false;
                }
                patch.put((String) member.getKey(), value);
            }
            return true;
        }
    }
}
