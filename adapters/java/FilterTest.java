package caddysession;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.io.Writer;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.security.KeyStore;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Date;
import java.util.Deque;
import java.util.EventListener;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;

import jakarta.servlet.AsyncContext;
import jakarta.servlet.AsyncListener;
import jakarta.servlet.DispatcherType;
import jakarta.servlet.FilterConfig;
import jakarta.servlet.ServletContext;
import jakarta.servlet.ServletContextEvent;
import jakarta.servlet.ServletContextListener;
import jakarta.servlet.ServletException;
import jakarta.servlet.ServletOutputStream;
import jakarta.servlet.ServletRequest;
import jakarta.servlet.ServletResponse;
import jakarta.servlet.WriteListener;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpSession;
import jakarta.servlet.http.HttpSessionAttributeListener;
import jakarta.servlet.http.HttpSessionBindingEvent;
import jakarta.servlet.http.HttpSessionEvent;
import jakarta.servlet.http.HttpSessionIdListener;
import jakarta.servlet.http.HttpSessionListener;

/**
 * Tests the filter between a request and a response that do as a container does. Without arguments it
 * runs the methods whose names begin with "test". With "vectors" it reads lines of the data before, the
 * data after, clear or keep, and names that go, with tabs between them, and answers each with a line
 * of what is sent as Set, Put and Control.
 */
public class FilterTest {
    private static final String ID = "AAAAAAAAAAAAAAAAAAAAAA";
    private static final String NEW_ID = "BBBBBBBBBBBBBBBBBBBBBB";

    /** What has been logged since the last call of logged. */
    private static final List<String> LOG = Collections.synchronizedList(new ArrayList<>());

    public static void main(String[] arguments) throws Exception {
        Logger logger = Logger.getLogger(CaddySessionFilter.class.getName());
        logger.setUseParentHandlers(false);
        logger.addHandler(new Handler() {
            @Override
            public void publish(LogRecord record) {
                LOG.add(record.getLevel() + ": " + record.getMessage());
            }

            @Override
            public void flush() {}

            @Override
            public void close() {}
        });
        if (arguments.length == 1 && arguments[0].equals("vectors")) {
            vectors();
            return;
        }
        int failed = 0;
        for (Method method : FilterTest.class.getDeclaredMethods()) {
            if (!method.getName().startsWith("test")) {
                continue;
            }
            LOG.clear();
            try {
                method.invoke(new FilterTest());
                if (!LOG.isEmpty()) {
                    throw new AssertionError("logged " + LOG);
                }
                System.out.println("ok " + method.getName());
            } catch (InvocationTargetException | AssertionError e) {
                failed++;
                System.out.println("FAIL " + method.getName());
                (e.getCause() == null ? e : e.getCause()).printStackTrace(System.out);
            }
        }
        System.exit(failed == 0 ? 0 : 1);
    }

    private static void vectors() throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] fields = line.split("\t");
            // The filter reads what is to be there afterwards.
            Map<String, Object> after = new LinkedHashMap<>();
            new Exchange().data(fields[1]).run((request, response) -> after.putAll(attributes(request.getSession())));
            Exchange exchange = new Exchange().data(fields[0]).run((request, response) -> {
                HttpSession session = request.getSession();
                if (fields[2].equals("clear")) {
                    session.invalidate();
                    session = request.getSession();
                }
                for (int i = 3; i < fields.length; i++) {
                    session.removeAttribute(fields[i]);
                }
                for (Map.Entry<String, Object> attribute : after.entrySet()) {
                    session.setAttribute(attribute.getKey(), attribute.getValue());
                }
            });
            System.out.println(exchange.sent("Set") + "\t" + exchange.sent("Put") + "\t" + exchange.sent("Control"));
        }
    }

    private static Map<String, Object> attributes(HttpSession session) {
        Map<String, Object> all = new LinkedHashMap<>();
        for (String name : Collections.list(session.getAttributeNames())) {
            all.put(name, session.getAttribute(name));
        }
        return all;
    }

    // The session.

    public void testUnused() throws Exception {
        new Exchange().data("{\"a\":1}").run((request, response) -> response.getWriter().print("x")).expect("", "", "");
        new Exchange().run((request, response) -> check(null, request.getSession(false))).expect("", "", "");
        // What nobody uses is not even parsed.
        new Exchange().data("{").run((request, response) -> {}).expect("", "", "");
        new Exchange().data("{\"a\":{\"b\":[1]}}").run((request, response) -> check("{b=[1]}", request.getSession().getAttribute("a").toString())).expect("", "", "");
    }

    public void testGetSession() throws Exception {
        new Exchange().run((request, response) -> {
            HttpSession session = request.getSession();
            check(NEW_ID, session.getId());
            check(true, session.isNew());
            check(session, request.getSession(false));
            check(null, request.getRequestedSessionId());
            check(false, request.isRequestedSessionIdValid());
        }).expect("{}", "", "");
        new Exchange().data("{\"a\":\"x\"}").run((request, response) -> {
            HttpSession session = request.getSession(false);
            check(ID, session.getId());
            check(false, session.isNew());
            check("x", session.getAttribute("a"));
            check(ID, request.getRequestedSessionId());
            check(true, request.isRequestedSessionIdValid());
            check(true, request.isRequestedSessionIdFromCookie());
            check(false, request.isRequestedSessionIdFromURL());
            check("servlet context", session.getServletContext().getServletContextName());
        }).expect("", "", "");
    }

    public void testAttributes() throws Exception {
        new Exchange().data("{\"a\":\"x\",\"b\":true,\"n\":null}").run((request, response) -> {
            HttpSession session = request.getSession();
            check("[a, b]", Collections.list(session.getAttributeNames()).toString());
            check(null, session.getAttribute("n"));
            session.setAttribute("a", null);
            session.removeAttribute("none");
            session.setAttribute("c", Arrays.asList(1, "two", 3.5, null));
            check(null, session.getAttribute("a"));
        }).expect("{\"a\":null,\"c\":[1,\"two\",3.5,null]}", "", "");
    }

    public void testMutatedAttributes() throws Exception {
        new Exchange().data("{\"cart\":{\"a\":1,\"b\":{\"n\":1}},\"list\":[1]}").run((request, response) -> {
            map(request.getSession().getAttribute("cart")).put("c", 2);
            map(map(request.getSession().getAttribute("cart")).get("b")).remove("n");
            list(request.getSession().getAttribute("list")).add("x");
        }).expect("{\"cart\":{\"b\":{\"n\":null},\"c\":2},\"list\":[1,\"x\"]}", "", "");
        new Exchange().run((request, response) -> {
            Map<String, Object> cart = new TreeMap<>();
            request.getSession().setAttribute("cart", cart);
            cart.put("a", 1);
        }).expect("{\"cart\":{\"a\":1}}", "", "");
        new Exchange().data("{\"cart\":{\"a\":1}}").run((request, response) -> map(request.getSession().getAttribute("cart")).put("b", null))
                .expect("", "{\"cart\":{\"a\":1,\"b\":null}}", "");
    }

    public void testOtherClasses() throws Exception {
        Map<String, Object> nested = new HashMap<>();
        nested.put("when", new LinkedList<Object>(Arrays.asList(1, new Date(0))));
        List<Object> itself = new ArrayList<>();
        itself.add(itself);
        Map<String, Object> refused = new LinkedHashMap<>();
        refused.put("cart.when[1] is a java.util.Date", nested);
        refused.put("cart is a java.lang.StringBuilder", new StringBuilder());
        refused.put("cart is a caddysession.FilterTest$Cart", new Cart());
        refused.put("cart is a [I", new int[1]);
        refused.put("cart is a map with a key that is a java.lang.Integer", Collections.singletonMap(1, 1));
        refused.put("cart is NaN", Double.NaN);
        refused.put("in itself, or deeper than 32 levels", itself);
        new Exchange().run((request, response) -> {
            HttpSession session = request.getSession();
            session.setAttribute("cart", 1);
            refused.forEach((message, value) -> fails(IllegalArgumentException.class, message, () -> session.setAttribute("cart", value)));
            fails(IllegalArgumentException.class, "name _java", () -> session.setAttribute("_java", 1));
            check(1, session.getAttribute("cart"));
        }).expect("{\"cart\":1}", "", "");
        // What gets in by the back door ends in an error, too, and nothing of it is saved.
        Exchange exchange = new Exchange().data("{\"cart\":{}}");
        fails(IllegalArgumentException.class, "cart.when is a java.util.Date", () -> exchange.run(
                (request, response) -> map(request.getSession().getAttribute("cart")).put("when", new Date(0))));
        exchange.expect("", "", "");
    }

    /** An application's own class is lost on the way, so it is refused. */
    public static class Cart extends HashMap<String, Object> {
        private static final long serialVersionUID = 1;
    }

    public void testNumbers() throws Exception {
        List<Object> numbers = Arrays.asList(1, 2L, (short) 3, (byte) 4, 5.0, 6.5, 7.5f, new BigInteger("8"), new BigDecimal("9.25"),
                1L << 40, new BigInteger("123456789012345678901234567890"), new BigDecimal("0.12345678901234567890123"), "text");
        Exchange exchange = new Exchange().run((request, response) -> {
            HttpSession session = request.getSession();
            session.setAttribute("list", numbers);
            session.setAttribute("long", 5L);
            session.setAttribute("map", Collections.singletonMap("long", 5L));
        });
        String data = exchange.sent("Set");
        new Exchange().data(data).run((request, response) -> {
            HttpSession session = request.getSession();
            check(numbers, session.getAttribute("list"));
            check(5L, session.getAttribute("long"));
            check(Collections.singletonMap("long", 5L), session.getAttribute("map"));
            check("[list, long, map]", Collections.list(session.getAttributeNames()).toString());
            session.setAttribute("long", 5L);
        }).expect("", "", "");
        // Others have changed the value, and removed another one.
        new Exchange().data("{\"long\":1.5,\"x\":\"text\",\"_java\":{\"types\":{\"long\":\"Long\",\"x\":\"Long\",\"gone\":\"Long\"}}}").run((request, response) -> {
            check(1.5, request.getSession().getAttribute("long"));
            request.getSession().setAttribute("y", 1);
        }).expect("{\"y\":1}", "", "");
        // The type goes with the attribute.
        new Exchange().data("{\"long\":1,\"_java\":{\"types\":{\"long\":\"Long\"}}}").run((request, response) ->
                request.getSession().removeAttribute("long")).expect("{\"long\":null,\"_java\":null}", "", "");
    }

    /** Numbers and types that other applications have written cost no more than they are long. */
    public void testNumbersWithoutEnd() throws Exception {
        long before = System.nanoTime();
        String digits = new String(new char[1 << 20]).replace('\0', '7');
        for (String number : new String[] {"1e600000000", "1e-600000000", "1e999999999", "-1e999999999", "1e-999999999", "0e-999999999", "1e99999999999", "-1e99999999999", digits, digits + ".5"}) {
            for (String type : new String[] {"BigInteger", "BigDecimal", "Long", "Short", "Byte", "Double", "Float"}) {
                new Exchange().data("{\"n\":[" + number + "],\"_java\":{\"types\":{\"n\":{\"0\":\"" + type + "\"}}}}").run((request, response) -> {
                    check(true, list(request.getSession().getAttribute("n")).get(0) instanceof Number);
                    request.getSession().setAttribute("a", 1);
                }).expect("{\"a\":1}", "", "");
            }
        }
        long seconds = (System.nanoTime() - before) / 1000000000;
        check("it takes " + seconds + " s", seconds < 60);
        new Exchange().data("{\"f\":1e300,\"_java\":{\"types\":{\"f\":\"Float\"}}}").run((request, response) ->
                check(1e300, request.getSession().getAttribute("f"))).expect("", "", "");
        new Exchange().run((request, response) -> {
            request.getSession().setAttribute("n", new BigInteger(digits.substring(0, 2500)));
            fails(IllegalArgumentException.class, "n is a number of more than 2500 digits", () ->
                    request.getSession().setAttribute("n", new BigInteger(digits.substring(0, 2501))));
        }).expect("{\"n\":" + digits.substring(0, 2500) + "}", "", "");
    }

    public void testTimes() throws Exception {
        long now = System.currentTimeMillis();
        new Exchange().data("{}").header("X-Session-Signed-In", "1000").header("X-Session-Expires", Long.toString(now / 1000 + 600)).run((request, response) -> {
            HttpSession session = request.getSession();
            check(1000_000L, session.getCreationTime());
            check(true, session.getLastAccessedTime() >= now);
            check(true, Math.abs(session.getMaxInactiveInterval() - 600) < 60);
        });
        new Exchange().data("{}").run((request, response) -> check(true, request.getSession().getCreationTime() >= now));
        new Exchange().run((request, response) -> {
            check(true, request.getSession().getCreationTime() >= now);
            check(1800, request.getSession().getMaxInactiveInterval());
        });
    }

    public void testMaxInactiveInterval() throws Exception {
        new Exchange().run((request, response) -> {
            request.getSession().setMaxInactiveInterval(600);
            check(600, request.getSession().getMaxInactiveInterval());
        }).expect("{\"_java\":{\"interval\":600}}", "", "max-age=600");
        new Exchange().data("{}").run((request, response) -> request.getSession().setMaxInactiveInterval(-1))
                .expect("{\"_java\":{\"interval\":-1}}", "", "max-age=2147483647");
        // It runs again, as requests come, whether these use the session or not.
        long now = System.currentTimeMillis() / 1000;
        String data = "{\"_java\":{\"interval\":600}}";
        new Exchange().data(data).header("X-Session-Expires", Long.toString(now + 595)).run((request, response) -> {}).expect("", "", "");
        new Exchange().data(data).header("X-Session-Expires", Long.toString(now + 500)).run((request, response) -> {}).expect("", "", "max-age=600");
        new Exchange().data(data).header("X-Session-Expires", Long.toString(now + 1800)).run((request, response) -> {}).expect("", "", "max-age=600");
        new Exchange().data("{\"_java\":{\"interval\":-1}}").run((request, response) -> {}).expect("", "", "");
    }

    public void testInvalidate() throws Exception {
        new Exchange().data("{\"a\":1}").run((request, response) -> {
            HttpSession session = request.getSession();
            session.setAttribute("b", 1);
            session.invalidate();
            check(null, request.getSession(false));
            check(false, request.isRequestedSessionIdValid());
            fails(IllegalStateException.class, "invalidated", () -> session.getAttribute("a"));
            fails(IllegalStateException.class, "invalidated", () -> session.setAttribute("a", 1));
            fails(IllegalStateException.class, "invalidated", session::invalidate);
            fails(IllegalStateException.class, "invalidated", session::isNew);
        }).expect("", "", "destroy");
        new Exchange().data("{\"a\":1,\"o\":{\"x\":1}}").run((request, response) -> {
            request.getSession().invalidate();
            check(NEW_ID, request.getSession().getId());
            check(true, request.getSession().isNew());
            check("{}", attributes(request.getSession()).toString());
            request.getSession().setAttribute("a", 1);
        }).expect("{\"a\":1}", "", "clear");
        // One that has begun here, and ends here.
        new Exchange().run((request, response) -> request.getSession().invalidate()).expect("", "", "");
        new Exchange().run((request, response) -> {
            request.getSession().setAttribute("a", 1);
            response.setBufferSize(8);
            response.getOutputStream().print("abcd"); // so the headers are there
            request.getSession().invalidate();
        }).expect("{}", "", "destroy");
    }

    public void testChangeSessionId() throws Exception {
        new Exchange().data("{}").run((request, response) -> {
            request.getSession().setAttribute("user", "alice");
            check(ID, request.changeSessionId());
        }).expect("{\"user\":\"alice\"}", "", "renew");
        new Exchange().run((request, response) ->
                fails(IllegalStateException.class, "no session", request::changeSessionId)).expect("", "", "");
    }

    public void testEncodeURL() throws Exception {
        new Exchange().run((request, response) -> {
            request.getSession();
            check("/a", response.encodeURL("/a"));
            check("/a", response.encodeRedirectURL("/a"));
        }).expect("{}", "", "");
    }

    public void testASCII() throws Exception {
        new Exchange().run((request, response) -> request.getSession().setAttribute("n\u00e4me", "\"\\\u20ac\ud83d\ude00\r\n\u007f"))
                .expect("{\"n\\u00e4me\":\"\\\"\\\\\\u20ac\\ud83d\\ude00\\u000d\\u000a\\u007f\"}", "", "");
        new Exchange().data("{\"a\":\"\\\"\\\\\\/\\u20AC\\b\\f\\n\\r\\t\"}").run((request, response) ->
                check("\"\\/\u20ac\b\f\n\r\t", request.getSession().getAttribute("a"))).expect("", "", "");
    }

    public void testHeadersOfTheApplication() throws Exception {
        Exchange exchange = new Exchange().data("{}").run((request, response) -> {
            response.setHeader("X-Session-Control", "revoke-others");
            request.getSession().setAttribute("a", 1);
            response.setBufferSize(8);
            response.getOutputStream().print("abcd");
            request.changeSessionId();
            request.getSession().setAttribute("a", 2);
        });
        check("{\"a\":2}", exchange.sent("Set"));
        check("[renew, revoke-others]", exchange.headers.get("X-Session-Control").toString());
    }

    // When the response begins.

    public void testResponseBegins() throws Exception {
        Map<String, Application> ways = new LinkedHashMap<>();
        ways.put("end", (request, response) -> {});
        ways.put("flushBuffer", (request, response) -> response.flushBuffer());
        ways.put("stream", (request, response) -> response.getOutputStream().write(new byte[100]));
        ways.put("stream, bytes", (request, response) -> {
            for (int i = 0; i < 100; i++) {
                response.getOutputStream().write('x');
            }
        });
        ways.put("stream, flush", (request, response) -> response.getOutputStream().flush());
        ways.put("stream, close", (request, response) -> response.getOutputStream().close());
        ways.put("writer", (request, response) -> response.getWriter().print(new char[100]));
        ways.put("writer, characters of three bytes", (request, response) -> response.getWriter().print("\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac"));
        ways.put("writer, flush", (request, response) -> response.getWriter().flush());
        ways.put("writer, close", (request, response) -> response.getWriter().close());
        ways.put("length", (request, response) -> {
            response.setContentLength(3);
            response.getOutputStream().print("abc");
        });
        ways.put("length in a header", (request, response) -> {
            response.setHeader("content-length", "3");
            response.getWriter().print("abc");
        });
        ways.put("sendError", (request, response) -> response.sendError(404));
        ways.put("sendError with a message", (request, response) -> response.sendError(404, "x"));
        ways.put("sendRedirect", (request, response) -> response.sendRedirect("/"));
        for (Map.Entry<String, Application> way : ways.entrySet()) {
            Exchange exchange = new Exchange().data("{\"l\":[]}").run((request, response) -> {
                response.setBufferSize(16);
                list(request.getSession().getAttribute("l")).add(1);
                request.getSession().setAttribute("a", 1);
                way.getValue().run(request, response);
                if (!way.getKey().equals("end")) {
                    check(way.getKey() + " begins the response", response.isCommitted());
                }
            });
            check(way.getKey() + ": {\"l\":[1],\"a\":1}", way.getKey() + ": " + exchange.sent("Set"));
        }
    }

    /** What has been written before the response begins is not the last word. */
    public void testChangesWhileBuffered() throws Exception {
        new Exchange().data("{\"a\":1,\"l\":[]}").run((request, response) -> {
            HttpSession session = request.getSession();
            session.setAttribute("b", 1);
            response.getOutputStream().write(new byte[5000]);
            check(false, response.isCommitted());
            session.setAttribute("b", 2);
            session.removeAttribute("a");
            list(session.getAttribute("l")).add(1);
        }).expect("{\"a\":null,\"l\":[1],\"b\":2}", "", "");
        new Exchange().data("{}").run((request, response) -> {
            request.getSession().setAttribute("b", 1);
            response.getOutputStream().write(new byte[5000]);
            request.getSession().removeAttribute("b");
        }).expect("{}", "", "");
        new Exchange().run((request, response) -> {
            request.getSession().setAttribute("b", 1);
            response.getOutputStream().write(new byte[5000]);
            response.reset();
        }).expect("{\"b\":1}", "", "");
    }

    public void testLate() throws Exception {
        new Exchange().data("{\"a\":1,\"l\":[],\"m\":{}}").run((request, response) -> {
            HttpSession session = request.getSession();
            session.setAttribute("b", 1);
            response.flushBuffer();
            session.setAttribute("a", 2);
            session.setAttribute("a", 3);
            list(session.getAttribute("l")).add(1);
            map(session.getAttribute("m"));
            session.setMaxInactiveInterval(60);
            check(3, session.getAttribute("a"));
            fails(IllegalStateException.class, "can't end the session: the response to /page has begun", session::invalidate);
            fails(IllegalStateException.class, "can't change the session's id", request::changeSessionId);
        }).expect("{\"b\":1}", "", "");
        logged("SEVERE: the change of the session's attribute \"a\" is lost: it came after the response to /page had begun",
                "SEVERE: the change of the session's maximum inactive interval is lost: it came after the response to /page had begun",
                "SEVERE: the change of the session's attribute \"l\" is lost: it came after the response to /page had begun");
        new Exchange().run((request, response) -> {
            response.flushBuffer();
            fails(IllegalStateException.class, "can't begin a session", request::getSession);
        }).expect("", "", "");
    }

    public void testException() throws Exception {
        Exchange exchange = new Exchange().data("{}");
        fails(IllegalArgumentException.class, "of the application", () -> exchange.run((request, response) -> {
            request.getSession().setAttribute("a", 1);
            throw new IllegalArgumentException("of the application");
        }));
        exchange.expect("{\"a\":1}", "", "");
    }

    public void testDispatches() throws Exception {
        Exchange exchange = new Exchange().data("{\"a\":1}");
        exchange.run((request, response) -> {
            request.getSession().setAttribute("b", 1);
            HttpSession session = request.getSession();
            // A forward or an include of the same filter.
            exchange.dispatch(DispatcherType.FORWARD);
            exchange.filter(request, response, (inner, innerResponse) -> {
                check(session, inner.getSession());
                inner.getSession().setAttribute("c", 1);
            });
            exchange.expect("", "", "");
            request.getSession().setAttribute("d", 1);
        }).expect("{\"b\":1,\"c\":1,\"d\":1}", "", "");
        // A container dispatches errors with its own objects.
        exchange.dispatch(DispatcherType.ERROR).run((request, response) -> {
            check(1, request.getSession().getAttribute("c"));
            request.getSession().setAttribute("e", 1);
        }).expect("{\"b\":1,\"c\":1,\"d\":1,\"e\":1}", "", "");
    }

    public void testAsync() throws Exception {
        Exchange exchange = new Exchange().data("{\"l\":[]}");
        AsyncContext[] context = new AsyncContext[1];
        exchange.run((request, response) -> {
            request.getSession().setAttribute("a", 1);
            context[0] = request.startAsync();
            check(context[0], request.getAsyncContext());
        });
        HttpSession session = ((HttpServletRequest) context[0].getRequest()).getSession();
        session.setAttribute("b", 1);
        list(session.getAttribute("l")).add(1);
        context[0].complete();
        check(true, exchange.committed);
        exchange.expect("{\"l\":[1],\"a\":1,\"b\":1}", "", "");

        // Dispatched, and back in the filter with the wrappers.
        Exchange dispatched = new Exchange().data("{\"l\":[]}");
        dispatched.run((request, response) -> context[0] = request.startAsync());
        list(((HttpServletRequest) context[0].getRequest()).getSession().getAttribute("l")).add(1);
        context[0].dispatch();
        dispatched.expect("{\"l\":[1]}", "", "");
        dispatched.asyncStarted = false;
        dispatched.dispatch(DispatcherType.ASYNC);
        dispatched.filter(context[0].getRequest(), context[0].getResponse(), (request, response) -> {
            list(request.getSession().getAttribute("l")).add(2);
            request.getSession().setAttribute("c", 1);
        });
        dispatched.expect("{\"l\":[1,2],\"c\":1}", "", "");
        dispatched.filter(context[0].getRequest(), context[0].getResponse(), (request, response) -> {
            response.flushBuffer();
            list(request.getSession().getAttribute("l")).add(3);
        });
        logged("SEVERE: the change of the session's attribute \"l\" is lost: it came after the response to /page had begun");
    }

    // Listeners, users, parameters.

    /** Writes down what it hears. */
    public static class Listener implements HttpSessionListener, HttpSessionAttributeListener, HttpSessionIdListener, ServletContextListener {
        static final List<String> HEARD = new ArrayList<>();

        @Override
        public void contextInitialized(ServletContextEvent event) {
            HEARD.add("context " + event.getServletContext().getServletContextName());
        }

        @Override
        public void contextDestroyed(ServletContextEvent event) {
            HEARD.add("context ends");
        }

        @Override
        public void sessionCreated(HttpSessionEvent event) {
            HEARD.add("created " + event.getSession().getId());
        }

        @Override
        public void sessionDestroyed(HttpSessionEvent event) {
            HEARD.add("destroyed " + event.getSession().getId() + " " + attributes(event.getSession()));
        }

        @Override
        public void sessionIdChanged(HttpSessionEvent event, String old) {
            HEARD.add("id " + old + " is " + event.getSession().getId());
        }

        @Override
        public void attributeAdded(HttpSessionBindingEvent event) {
            HEARD.add("added " + event.getName() + "=" + event.getValue());
        }

        @Override
        public void attributeRemoved(HttpSessionBindingEvent event) {
            HEARD.add("removed " + event.getName() + "=" + event.getValue());
        }

        @Override
        public void attributeReplaced(HttpSessionBindingEvent event) {
            HEARD.add("replaced " + event.getName() + "=" + event.getValue());
        }
    }

    public void testListeners() throws Exception {
        Application application = (request, response) -> {
            HttpSession session = request.getSession();
            session.setAttribute("a", 1);
            session.setAttribute("a", 2);
            session.removeAttribute("a");
            session.removeAttribute("a");
            session.setAttribute("b", 3);
            session.setAttribute("b", null);
            session.setAttribute("c", 4);
            request.changeSessionId();
            session.invalidate();
        };
        List<String> events = Arrays.asList("created " + NEW_ID, "added a=1", "replaced a=1", "removed a=2", "added b=3", "removed b=3", "added c=4",
                "id " + NEW_ID + " is " + NEW_ID, "destroyed " + NEW_ID + " {c=4}", "removed c=4");
        Listener.HEARD.clear();
        new Exchange(new CaddySessionFilter(new Listener())).run(application);
        check(events, Listener.HEARD);
        Listener.HEARD.clear();
        Exchange exchange = new Exchange().parameter("listeners", " caddysession.FilterTest$Listener\n");
        exchange.run(application);
        exchange.filter.destroy();
        List<String> all = new ArrayList<>(events);
        all.add(0, "context servlet context");
        all.add("context ends");
        check(all, Listener.HEARD);
        fails(ServletException.class, "names \"java.lang.String\", which is no listener", () ->
                new Exchange().parameter("listeners", "java.lang.String").run(application));
        fails(ServletException.class, "names \"nobody\", which is no listener", () ->
                new Exchange().parameter("listeners", "nobody").run(application));
    }

    public void testUser() throws Exception {
        new Exchange().parameter("user", "user").parameter("roles", "roles").data("{\"user\":\"Zo\\u00eb+\",\"roles\":[\"admin\"]}").header("X-Session-User", "Zo%C3%AB+").run((request, response) -> {
            check("Zo\u00eb+", request.getRemoteUser());
            check("Zo\u00eb+", request.getUserPrincipal().getName());
            check(true, request.isUserInRole("admin"));
            check(false, request.isUserInRole("adm"));
            request.logout();
            check(null, request.getRemoteUser());
            check(null, request.getUserPrincipal());
            check(false, request.isUserInRole("admin"));
        }).expect("{\"user\":null}", "", "");
        new Exchange().parameter("user", "user").parameter("roles", "role").run((request, response) -> {
            check(null, request.getRemoteUser());
            check(null, request.getUserPrincipal());
            fails(ServletException.class, "wrong", () -> request.login("alice", "wrong"));
            check(null, request.getRemoteUser());
            request.login("alice", "secret");
            check("alice", request.getRemoteUser());
            request.getSession().setAttribute("role", "admin");
            check(true, request.isUserInRole("admin"));
        }).expect("{\"user\":\"alice\",\"role\":\"admin\"}", "", "");
        // Without the parameter they are the container's.
        new Exchange().header("X-Session-User", "alice").run((request, response) -> {
            check("of the container", request.getRemoteUser());
            request.login("alice", "secret");
            request.logout();
        }).expect("", "", "");
    }

    public void testParameters() throws Exception {
        Application application = (request, response) -> {};
        fails(ServletException.class, "\"requried\" is unknown", () -> new Exchange().parameter("requried", "true").run(application));
        fails(ServletException.class, "say true or false", () -> new Exchange().parameter("required", "yes").run(application));
        fails(ServletException.class, "say on_save or immediate", () -> new Exchange().parameter("flushMode", "never").run(application));
        fails(ServletException.class, "needs the parameter \"user\"", () -> new Exchange().parameter("roles", "role").run(application));
    }

    public void testWithoutCaddy() throws Exception {
        for (int i = 0; i < 2; i++) {
            new Exchange().without("X-Session-New-Id").run((request, response) -> {
                check(null, request.getSession(false));
                HttpSession session = request.getSession();
                check(22, session.getId().length());
                session.setAttribute("a", 1);
                check(1, request.getSession().getAttribute("a"));
                fails(IllegalArgumentException.class, "java.util.Date", () -> session.setAttribute("a", new Date(0)));
                response.flushBuffer();
            }).expect("", "", "");
        }
        logged("WARNING: a request for /page has no X-Session-New-Id: it did not come through Caddy, or \"request_headers\" of the site lacks \"new_id\"."
                + " Its session is not kept"); // once
        fails(ServletException.class, "did not come through Caddy", () ->
                new Exchange().parameter("required", "true").without("X-Session-New-Id").run((request, response) -> {}));
        new Exchange().without("X-Session-Data").header("X-Session-Id", ID).run((request, response) ->
                fails(IllegalStateException.class, "lacks \"data\"", request::getSession));
    }

    // The session API.

    private static final String LARGE = new String(new char[1 << 20]).replace('\0', 'x');

    public void testAsksForData() throws Exception {
        try (SessionAPI api = new SessionAPI()) {
            api.exchange(ID).run((request, response) -> response.flushBuffer()).expect("", "", "");
            api.asked();
            api.data = "{\"large\":\"" + LARGE + "\",\"u\":\"\u20ac\",\"long\":5,\"_java\":{\"types\":{\"long\":\"Long\"}}}";
            api.exchange(ID).run((request, response) -> {
                HttpSession session = request.getSession(false);
                check(LARGE, session.getAttribute("large"));
                check("\u20ac", request.getSession().getAttribute("u"));
                check(5L, session.getAttribute("long"));
                session.setAttribute("a", 1);
            }).expect("{\"a\":1}", "", "");
            api.asked("GET");
        }
    }

    public void testSaves() throws Exception {
        try (SessionAPI api = new SessionAPI()) {
            api.exchange(ID).data("{\"a\":1,\"m\":{\"x\":1}}").run((request, response) -> {
                request.getSession().setAttribute("b", 2);
                map(request.getSession().getAttribute("m")).put("y", 2);
                CaddySessionFilter.save(request);
                api.asked("PATCH {\"m\":{\"y\":2},\"b\":2}");
                CaddySessionFilter.save(request);
                request.getSession().setAttribute("c", 3);
            }).expect("{\"c\":3}", "", "");
            api.asked();
            api.exchange(null).run((request, response) -> {
                request.getSession().setMaxInactiveInterval(600);
                CaddySessionFilter.save(request);
                check(NEW_ID, request.getSession().getId());
                check(true, request.getSession().isNew());
            }).expect("", "", "");
            api.asked("PATCH {\"_java\":{\"interval\":600}}", "POST/max-age?seconds=600");
            // Headers that are there already must not undo it.
            api.exchange(ID).data("{\"a\":1}").run((request, response) -> {
                request.changeSessionId();
                request.getSession().setAttribute("a", 2);
                response.getOutputStream().write(new byte[5000]);
                CaddySessionFilter.save(request);
            }).expect("{}", "", "no-touch");
            api.asked("POST/renew", "PATCH {\"a\":2}");
            api.exchange(ID).data("{\"a\":1}").run((request, response) -> {
                request.getSession().invalidate();
                request.getSession().setAttribute("b", 1);
                CaddySessionFilter.save(request);
                check(NEW_ID, request.getSession().getId());
                check(false, request.isRequestedSessionIdValid());
            }).expect("", "", "");
            api.asked("POST/clear", "PATCH {\"b\":1}");
            api.exchange(ID).data("{\"a\":1}").run((request, response) -> {
                request.getSession().invalidate();
                CaddySessionFilter.save(request);
                check(null, request.getSession(false));
            }).expect("", "", "");
            api.asked("DELETE");
            api.exchange(null).run((request, response) -> CaddySessionFilter.save(request)).expect("", "", "");
            api.asked();
        }
        new Exchange().data("{}").run((request, response) ->
                fails(IllegalStateException.class, "write \"api\" into the \"session\" block", () -> CaddySessionFilter.save(request)));
        fails(IllegalStateException.class, "did not come through the filter", () -> CaddySessionFilter.save(new Exchange().request));
    }

    public void testFlushMode() throws Exception {
        try (SessionAPI api = new SessionAPI()) {
            api.exchange(ID).parameter("flushMode", "immediate").data("{\"l\":[]}").run((request, response) -> {
                request.getSession().setAttribute("a", 1);
                api.asked("PATCH {\"a\":1}");
                request.getSession().removeAttribute("a");
                api.asked("PATCH {\"a\":null}");
                request.changeSessionId();
                api.asked("POST/renew");
                list(request.getSession().getAttribute("l")).add(1);
            }).expect("{\"l\":[1]}", "", "");
            api.exchange(ID).parameter("flushMode", "immediate").data("{}").run((request, response) -> {
                request.getSession().invalidate();
                api.asked("DELETE");
                check(NEW_ID, request.getSession().getId());
                api.asked("PATCH {}");
                request.getSession().invalidate();
                request.getSession();
                api.asked("DELETE", "PATCH {}");
                response.flushBuffer();
                request.getSession().setAttribute("a", 1);
                api.asked("PATCH {\"a\":1}");
            }).expect("", "", "");
        }
        new Exchange().parameter("flushMode", "immediate").data("{}").run((request, response) ->
                request.getSession().setAttribute("a", 1)).expect("{\"a\":1}", "", "");
        new Exchange().parameter("flushMode", "on_save").data("{}").run((request, response) ->
                request.getSession().setAttribute("a", 1)).expect("{\"a\":1}", "", "");
    }

    /** Without "new_id", or once the new id has been used, Caddy is asked for one. */
    public void testNewId() throws Exception {
        try (SessionAPI api = new SessionAPI()) {
            api.exchange(null).without("X-Session-New-Id").run((request, response) -> {
                check(NEW_ID, request.getSession().getId());
                request.getSession().setAttribute("a", 1);
            }).expect("{\"a\":1}", "", "");
            api.asked("PATCH {}");
            api.exchange(null).run((request, response) -> {
                request.getSession().setAttribute("a", 1);
                CaddySessionFilter.save(request);
                request.getSession().invalidate();
                check(OTHER_ID, request.getSession().getId());
            }).expect("", "", "");
            api.asked("PATCH {\"a\":1}", "POST/clear");
        }
    }

    public void testLargeChange() throws Exception {
        try (SessionAPI api = new SessionAPI()) {
            api.exchange(ID).data("{}").run((request, response) -> {
                request.getSession().setAttribute("large", LARGE);
                request.changeSessionId();
            }).expect("", "", "");
            api.asked("POST/renew", "PATCH {\"large\":\"" + LARGE + "\"}");
            // If it can't be saved, there is no page.
            api.fails.add(413);
            Exchange refused = api.exchange(ID).data("{}");
            fails(IllegalStateException.class, "the session API answers PATCH / of /page with 413: as told", () -> refused.run((request, response) ->
                    request.getSession().setAttribute("large", LARGE)));
            api.asked("PATCH {\"large\":\"" + LARGE + "\"}");
            refused.dispatch(DispatcherType.ERROR).run((request, response) -> {}).expect("", "", "");
            api.asked();
        }
    }

    public void testAfterTheResponseHasBegun() throws Exception {
        try (SessionAPI api = new SessionAPI()) {
            Exchange exchange = api.exchange(ID).data("{\"a\":1,\"l\":[],\"m\":{}}");
            exchange.run((request, response) -> {
                response.flushBuffer();
                HttpSession session = request.getSession();
                session.setAttribute("a", 2);
                session.setAttribute("a", 3);
                list(session.getAttribute("l")).add(1);
                session.setMaxInactiveInterval(60);
                fails(IllegalStateException.class, "can't change the session's id", request::changeSessionId);
                api.asked();
            }).expect("", "", "");
            api.asked("PATCH {\"a\":3,\"l\":[1],\"_java\":{\"interval\":60}}");
            // Caddy has to know first what the head says.
            api.exchange(ID).data("{\"a\":1}").run((request, response) -> {
                request.getSession().setAttribute("a", 2);
                response.flushBuffer();
                request.getSession().setAttribute("b", 3);
                CaddySessionFilter.save(request);
                api.asked("PATCH?begun {\"b\":3}");
                request.getSession().setAttribute("b", 4);
            }).expect("{\"a\":2}", "", "");
            api.asked("PATCH?begun {\"b\":4}");
            // When all is written, the response may be over.
            for (String way : new String[] {"length", "close stream", "close writer"}) {
                api.exchange(ID).data("{}").run((request, response) -> {
                    response.setContentLength(way.equals("length") ? 6 : 100);
                    response.flushBuffer();
                    request.getSession().setAttribute("a", 1);
                    if (way.equals("close writer")) {
                        response.getWriter().close();
                    } else {
                        response.getOutputStream().print("abc");
                        api.asked();
                        if (way.equals("length")) {
                            response.getOutputStream().print("def");
                        } else {
                            response.getOutputStream().close();
                        }
                    }
                    api.asked("PATCH {\"a\":1}");
                });
                api.asked();
            }
            // The end of the session, and no session any more.
            api.exchange(ID).data("{}").run((request, response) -> {
                request.getSession().setAttribute("a", 1);
                response.flushBuffer();
                request.getSession().invalidate();
                api.asked("DELETE?begun");
                check(null, request.getSession(false));
                fails(IllegalStateException.class, "can't begin a session", request::getSession);
            }).expect("{\"a\":1}", "", "");
            api.exchange(ID).data("{}").run((request, response) -> {
                response.flushBuffer();
                HttpSession session = request.getSession();
                api.fails.add(503);
                fails(IllegalStateException.class, "with 503: as told", session::invalidate);
                check(session, request.getSession());
                api.asked("DELETE");
            });
        }
    }

    /** What keeps the session when the request is over, as WebSockets do, can't ask its response any more. */
    public void testAfterTheRequest() throws Exception {
        HttpSession[] session = new HttpSession[1];
        Application application = (request, response) -> {
            request.getSession().setAttribute("a", 1);
            session[0] = request.getSession();
        };
        try (SessionAPI api = new SessionAPI()) {
            Exchange exchange = api.exchange(ID).data("{}").run(application);
            exchange.recycled = true;
            session[0].setAttribute("b", 1);
            api.asked("PATCH?begun {\"b\":1}");
            session[0].setAttribute("b", 1);
            api.asked();
            api.fails.add(401);
            session[0].setAttribute("b", 2);
            api.asked("PATCH?begun {\"b\":2}");
            logged("SEVERE: the change of the session's attribute \"b\" is lost: it came after the response to /page had begun:"
                    + " the session API answers PATCH /?begun of /page with 401: as told");
            session[0].invalidate();
            api.asked("DELETE?begun");
        }
        Exchange exchange = new Exchange().data("{}").run(application);
        exchange.recycled = true;
        session[0].setAttribute("b", 1);
        logged("SEVERE: the change of the session's attribute \"b\" is lost: it came after the response to /page had begun");
        fails(IllegalStateException.class, "can't end the session", session[0]::invalidate);
    }

    public void testAsyncWithTheAPI() throws Exception {
        try (SessionAPI api = new SessionAPI()) {
            AsyncContext[] context = new AsyncContext[1];
            api.exchange(ID).data("{}").run((request, response) -> {
                response.flushBuffer();
                context[0] = request.startAsync();
                request.getSession().setAttribute("a", 1);
            });
            api.asked();
            ((HttpServletRequest) context[0].getRequest()).getSession().setAttribute("b", 1);
            context[0].complete();
            api.asked("PATCH {\"a\":1,\"b\":1}");
        }
    }

    /** A container does not send the head of a redirect before the end. */
    public void testAfterRedirect() throws Exception {
        try (SessionAPI api = new SessionAPI()) {
            api.exchange(ID).data("{}").run((request, response) -> {
                response.sendRedirect("/");
                request.getSession().setAttribute("a", 1);
            });
            api.asked("PATCH {\"a\":1}");
            api.exchange(ID).data("{}").run((request, response) -> {
                request.getSession().setAttribute("a", 1);
                response.sendRedirect("/");
                request.getSession().setAttribute("b", 1);
                fails(IllegalStateException.class, "can't save the session", () -> CaddySessionFilter.save(request));
            }).expect("{\"a\":1}", "", "");
            api.asked();
        }
        logged("SEVERE: the change of the session's attribute \"b\" is lost: it came after the response to /page had begun");
    }

    /** What a merge patch can't say is merged here, into what parallel requests have left. */
    public void testMerges() throws Exception {
        try (SessionAPI api = new SessionAPI()) {
            api.data = "{\"m\":{\"a\":1,\"b\":1,\"d\":{\"theirs\":1}},\"x\":1}";
            api.fails.addAll(Arrays.asList(0, 412));
            api.exchange(ID).data("{\"m\":{\"b\":1,\"c\":1,\"d\":{}}}").run((request, response) -> {
                Map<String, Object> m = map(request.getSession().getAttribute("m"));
                m.put("b", null);
                m.remove("c");
                map(m.get("d")).put("ours", 1);
                CaddySessionFilter.save(request);
            }).expect("", "", "");
            String put = "PUT {\"m\":{\"a\":1,\"b\":null,\"d\":{\"theirs\":1,\"ours\":1}}} if \"tag\"";
            api.asked("GET", put, "GET", put);
            api.exchange(null).run((request, response) -> {
                request.getSession().setAttribute("m", Collections.singletonMap("a", null));
                CaddySessionFilter.save(request);
            }).expect("", "", "");
            api.asked("PUT {\"m\":{\"a\":null}}");
        }
    }

    public void testRefusals() throws Exception {
        try (SessionAPI api = new SessionAPI()) {
            for (int status : new int[] {401, 409, 410, 412, 413, 422, 503}) {
                api.fails.add(status);
                api.exchange(ID).data("{}").run((request, response) -> {
                    response.flushBuffer();
                    request.getSession().setAttribute("a", 1);
                });
                logged("SEVERE: the change of the session's attribute \"a\" is lost: it came after the response to /page had begun:"
                        + " the session API answers PATCH / of /page with " + status + ": as told");
                api.asked("PATCH {\"a\":1}");
                api.fails.add(status);
                api.exchange(ID).run((request, response) ->
                        fails(IllegalStateException.class, "the session API answers GET / of /page with " + status + ": as told", request::getSession));
                api.asked("GET");
            }
        }
        SessionAPI closed = new SessionAPI();
        closed.close();
        closed.exchange(ID).run((request, response) ->
                fails(IllegalStateException.class, "the session API does not answer GET of /page", request::getSession));
        for (String url : new String[] {"ftp://127.0.0.1/x", "http://127.0.0.1/", "http://127.0.0.1/secret\r\nX: y"}) {
            new Exchange().header("X-Session-Api", url).header("X-Session-Id", ID).run((request, response) ->
                    fails(IllegalStateException.class, "X-Session-Api of /page is no URL of a session API", request::getSession));
        }
        boolean unix = Double.parseDouble(System.getProperty("java.specification.version")) >= 16;
        new Exchange().header("X-Session-Api", "http+unix://%2Fnowhere%2Fapi.sock/secret").header("X-Session-Id", ID).run((request, response) ->
                fails(IllegalStateException.class, unix ? "does not answer GET of /page" : "takes Java 16 or later", request::getSession));
    }

    /** A certificate of this host is trusted for its name only. */
    public void testTLS() throws Exception {
        Path dir = Files.createTempDirectory("tls");
        Path keys = dir.resolve("keys");
        Path certificate = dir.resolve("certificate");
        Path trusted = dir.resolve("trusted");
        keytool("-genkeypair", "-keyalg", "RSA", "-dname", "CN=localhost", "-ext", "san=dns:localhost", "-keystore", keys.toString());
        keytool("-exportcert", "-file", certificate.toString(), "-keystore", keys.toString());
        keytool("-importcert", "-noprompt", "-file", certificate.toString(), "-keystore", trusted.toString());
        System.setProperty("javax.net.ssl.trustStore", trusted.toString());
        System.setProperty("javax.net.ssl.trustStorePassword", "password");
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(Files.newInputStream(keys), "password".toCharArray());
        KeyManagerFactory managers = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        managers.init(store, "password".toCharArray());
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(managers.getKeyManagers(), null, null);
        HttpsServer server = HttpsServer.create();
        server.setHttpsConfigurator(new HttpsConfigurator(context));
        try (SessionAPI api = new SessionAPI(server)) {
            String url = "localhost:" + server.getAddress().getPort() + "/Capability_of-a-test";
            api.exchange(ID).header("X-Session-Api", "https://" + url).run((request, response) -> {
                request.getSession().setAttribute("large", LARGE);
                CaddySessionFilter.save(request);
            }).expect("", "", "");
            api.asked("GET", "PATCH {\"large\":\"" + LARGE + "\"}");
            api.exchange(ID).header("X-Session-Api", "https://" + url.replace("localhost", "127.0.0.1")).run((request, response) ->
                    fails(IllegalStateException.class, "No subject alternative names matching IP address 127.0.0.1", request::getSession));
            api.asked();
        }
        for (Path path : new Path[] {keys, certificate, trusted, dir}) {
            Files.delete(path);
        }
    }

    private static void keytool(String... arguments) throws Exception {
        List<String> command = new ArrayList<>(Collections.singletonList(Paths.get(System.getProperty("java.home"), "bin", "keytool").toString()));
        command.addAll(Arrays.asList(arguments));
        command.addAll(Arrays.asList("-alias", "api", "-storetype", "PKCS12", "-storepass", "password"));
        check(0, new ProcessBuilder(command).inheritIO().start().waitFor());
    }

    private static final String OTHER_ID = "CCCCCCCCCCCCCCCCCCCCCC";

    /** An API that keeps nothing, and remembers what it was asked. */
    private static final class SessionAPI implements AutoCloseable {
        final Deque<Integer> fails = new ArrayDeque<>(); // a status each, or 0 for none
        String data = "{}";
        private String id;
        private final List<String> asked = Collections.synchronizedList(new ArrayList<>());
        private final HttpServer server;

        SessionAPI() throws IOException {
            this(HttpServer.create());
        }

        SessionAPI(HttpServer server) throws IOException {
            this.server = server;
            server.bind(new InetSocketAddress(InetAddress.getByName("localhost"), 0), 0);
            server.createContext("/Capability_of-a-test", this::answer);
            server.start();
        }

        Exchange exchange(String id) {
            this.id = id != null ? id : NEW_ID;
            Exchange exchange = new Exchange().header("X-Session-Api", "http://localhost:" + server.getAddress().getPort() + "/Capability_of-a-test");
            return id == null ? exchange : exchange.header("X-Session-Id", id);
        }

        void asked(String... requests) {
            check(Arrays.asList(requests), new ArrayList<>(asked));
            asked.clear();
        }

        private void answer(HttpExchange exchange) throws IOException {
            StringBuilder body = new StringBuilder();
            for (int c = exchange.getRequestBody().read(); c >= 0; c = exchange.getRequestBody().read()) {
                body.append((char) c);
            }
            String tag = exchange.getRequestHeaders().getFirst("If-Match");
            String method = exchange.getRequestMethod();
            asked.add(method + exchange.getRequestURI().toString().substring("/Capability_of-a-test".length())
                    + (body.length() == 0 ? "" : " " + body) + (tag == null ? "" : " if " + tag));
            Integer status = fails.poll();
            String query = exchange.getRequestURI().getQuery();
            if (exchange.getRequestURI().getPath().endsWith("/clear")) {
                next();
            }
            long seconds = query != null && query.startsWith("seconds=") ? Long.parseLong(query.substring(8)) : 86400;
            String answer = "{\"id\":\"" + id + "\",\"version\":2,\"created\":1,\"expires\":" + (System.currentTimeMillis() / 1000 + seconds) + (method.equals("GET") ? ",\"data\":" + data : "") + "}\n";
            if (status != null && status > 0) {
                answer = "{\"error\":\"as told\"}";
            } else if (method.equals("DELETE")) {
                next();
                answer = "";
            }
            byte[] bytes = answer.getBytes(StandardCharsets.UTF_8);
            exchange.getResponseHeaders().set("ETag", "\"tag\"");
            exchange.sendResponseHeaders(status != null && status > 0 ? status : answer.isEmpty() ? 204 : 200, bytes.length == 0 ? -1 : bytes.length);
            exchange.getResponseBody().write(bytes);
            exchange.close();
        }

        private void next() {
            id = id.equals(ID) ? NEW_ID : OTHER_ID;
        }

        @Override
        public void close() {
            server.stop(0);
        }
    }

    // Tools.

    interface Application {
        void run(HttpServletRequest request, HttpServletResponse response) throws Exception;
    }

    interface Step {
        void run() throws Exception;
    }

    private static void check(Object want, Object is) {
        if (want == null ? is != null : !want.equals(is)) {
            throw new AssertionError("is " + is + ", not " + want);
        }
    }

    private static void check(String what, boolean ok) {
        if (!ok) {
            throw new AssertionError(what);
        }
    }

    private static void fails(Class<? extends Exception> kind, String message, Step step) {
        try {
            step.run();
        } catch (Exception e) {
            if (kind.isInstance(e) && e.getMessage().contains(message)) {
                return;
            }
            throw new AssertionError("fails otherwise than by " + message, e);
        }
        throw new AssertionError("does not fail by " + message);
    }

    private static void logged(String... lines) {
        check(Arrays.asList(lines), new ArrayList<>(LOG));
        LOG.clear();
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> map(Object value) {
        return (Map<String, Object>) value;
    }

    @SuppressWarnings("unchecked")
    private static List<Object> list(Object value) {
        return (List<Object>) value;
    }

    /** A request and its response, with a buffer of 8 KiB, as a container has them. */
    private static final class Exchange {
        final CaddySessionFilter filter;
        final Map<String, List<String>> headers = new HashMap<>();
        boolean committed;
        boolean recycled;
        boolean asyncStarted;
        private final Map<String, String> parameters = new LinkedHashMap<>();
        private final Map<String, String> requestHeaders = new HashMap<>();
        private final Map<String, Object> attributes = new HashMap<>();
        private DispatcherType dispatch = DispatcherType.REQUEST;
        private boolean ready;
        private int size = 8192;
        private int count;
        private long length = Long.MAX_VALUE;
        private final HttpServletRequest request = fake(HttpServletRequest.class, this::ofRequest);
        private final HttpServletResponse response = fake(HttpServletResponse.class, this::ofResponse);
        private final ServletContext context = fake(ServletContext.class, (name, a) ->
                name.equals("createListener") ? ((Class<?>) a[0]).getDeclaredConstructor().newInstance() : "servlet context");

        Exchange() {
            this(new CaddySessionFilter());
        }

        Exchange(CaddySessionFilter filter) {
            this.filter = filter;
            header("X-Session-New-Id", NEW_ID);
        }

        Exchange header(String name, String value) {
            requestHeaders.put(name, value);
            return this;
        }

        Exchange without(String name) {
            requestHeaders.remove(name);
            return this;
        }

        Exchange data(String data) {
            return header("X-Session-Id", ID).header("X-Session-Data", data);
        }

        Exchange parameter(String name, String value) {
            parameters.put(name, value);
            return this;
        }

        Exchange dispatch(DispatcherType kind) {
            dispatch = kind;
            return this;
        }

        Exchange run(Application application) throws Exception {
            filter(request, response, application);
            return this;
        }

        void filter(ServletRequest request, ServletResponse response, Application application) throws IOException, ServletException {
            if (!ready) {
                filter.init(fake(FilterConfig.class, (name, a) -> {
                    switch (name) {
                        case "getInitParameterNames":
                            return Collections.enumeration(parameters.keySet());
                        case "getInitParameter":
                            return parameters.get(a[0]);
                        default:
                            return context;
                    }
                }));
                ready = true;
            }
            filter.doFilter(request, response, (wrapped, wrappedResponse) -> {
                try {
                    application.run((HttpServletRequest) wrapped, (HttpServletResponse) wrappedResponse);
                } catch (IOException | ServletException | RuntimeException e) {
                    throw e;
                } catch (Exception e) {
                    throw new ServletException(e);
                }
            });
        }

        String sent(String name) {
            return String.join(" + ", headers.getOrDefault("X-Session-" + name, Collections.emptyList()));
        }

        void expect(String set, String put, String control) {
            check("Set " + set + " Put " + put + " Control " + control, "Set " + sent("Set") + " Put " + sent("Put") + " Control " + sent("Control"));
        }

        private Object ofRequest(String name, Object[] a) throws Exception {
            switch (name) {
                case "getHeader":
                    return requestHeaders.get(a[0]);
                case "getAttribute":
                    return attributes.get(a[0]);
                case "setAttribute":
                    return attributes.put((String) a[0], a[1]);
                case "getRequestURI":
                    return "/page";
                case "getDispatcherType":
                    return dispatch;
                case "isAsyncStarted":
                    return asyncStarted;
                case "startAsync":
                    asyncStarted = true;
                    return fake(AsyncContext.class, (method, b) -> {
                        switch (method) {
                            case "getRequest":
                                return a[0];
                            case "getResponse":
                                return a[1];
                            case "addListener":
                                check("a listener", b[0] instanceof AsyncListener);
                                return null;
                            case "complete":
                                committed = true;
                                return null;
                            case "dispatch":
                                return null;
                            default:
                                throw new UnsupportedOperationException(method);
                        }
                    });
                case "getRemoteUser":
                    return "of the container";
                case "login":
                    if (!a[1].equals("secret")) {
                        throw new ServletException("wrong");
                    }
                    return null;
                case "logout":
                    return null;
                default:
                    throw new UnsupportedOperationException(name);
            }
        }

        private Object ofResponse(String name, Object[] a) throws Exception {
            if (recycled) {
                throw new IllegalStateException("the response is another one's");
            }
            switch (name) {
                case "setHeader":
                case "addHeader":
                    if (committed) {
                        return null; // as containers do
                    } else if (((String) a[0]).equalsIgnoreCase("Content-Length")) {
                        length = Long.parseLong((String) a[1]);
                        return null;
                    } else if (name.equals("setHeader")) {
                        headers.put((String) a[0], new ArrayList<>());
                    }
                    headers.computeIfAbsent((String) a[0], key -> new ArrayList<>()).add((String) a[1]);
                    return null;
                case "getHeaders":
                    return new ArrayList<>(headers.getOrDefault(a[0], Collections.emptyList()));
                case "setContentLength":
                    length = (int) a[0];
                    return null;
                case "isCommitted":
                    return committed;
                case "getBufferSize":
                    return size;
                case "setBufferSize":
                    size = (int) a[0];
                    return null;
                case "getCharacterEncoding":
                    return "UTF-8";
                case "flushBuffer":
                case "sendError":
                case "sendRedirect":
                    committed = true;
                    return null;
                case "resetBuffer":
                    count = 0;
                    return null;
                case "reset":
                    count = 0;
                    headers.clear();
                    return null;
                case "getOutputStream":
                    return new Body();
                case "getWriter":
                    return new PrintWriter(new Writer() {
                        @Override
                        public void write(char[] text, int offset, int length) {
                            wrote(new String(text, offset, length).getBytes(StandardCharsets.UTF_8).length);
                        }

                        @Override
                        public void flush() {
                            committed = true;
                        }

                        @Override
                        public void close() {
                            committed = true;
                        }
                    });
                default:
                    throw new UnsupportedOperationException(name);
            }
        }

        private void wrote(int bytes) {
            count += bytes;
            committed |= count >= size || count >= length;
        }

        private final class Body extends ServletOutputStream {
            @Override
            public void write(int b) {
                wrote(1);
            }

            @Override
            public void write(byte[] bytes, int offset, int length) {
                wrote(length);
            }

            @Override
            public void flush() {
                committed = true;
            }

            @Override
            public void close() {
                committed = true;
            }

            @Override
            public boolean isReady() {
                return true;
            }

            @Override
            public void setWriteListener(WriteListener listener) {}
        }
    }

    interface Answers {
        Object of(String method, Object[] arguments) throws Exception;
    }

    private static <T> T fake(Class<T> kind, Answers answers) {
        return kind.cast(Proxy.newProxyInstance(kind.getClassLoader(), new Class<?>[] {kind}, (proxy, method, arguments) -> {
            switch (method.getName()) {
                case "equals":
                    return proxy == arguments[0];
                case "hashCode":
                    return System.identityHashCode(proxy);
                case "toString":
                    return kind.getName();
                default:
                    return answers.of(method.getName(), arguments);
            }
        }));
    }
}
