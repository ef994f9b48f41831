import java.io.EOFException;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.TimeUnit;

import caddysession.CaddySessionFilter;
import jakarta.servlet.AsyncContext;
import jakarta.servlet.RequestDispatcher;
import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpSession;
import jakarta.servlet.http.HttpUpgradeHandler;
import jakarta.servlet.http.WebConnection;

/** An application that knows nothing of Caddy, but where it has its session saved at once. */
public class Pages extends HttpServlet {
    private static final long serialVersionUID = 1;
    private static final CyclicBarrier GATE = new CyclicBarrier(20);
    private static final SynchronousQueue<Boolean> SEEN = new SynchronousQueue<>();

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws ServletException, IOException {
        response.setContentType("text/plain;charset=UTF-8");
        try {
            Object included = request.getAttribute(RequestDispatcher.INCLUDE_PATH_INFO);
            page(included != null ? (String) included : request.getPathInfo(), request, response);
        } catch (IOException | ServletException | RuntimeException e) {
            throw e;
        } catch (Exception e) {
            throw new ServletException(e);
        }
    }

    private void page(String path, HttpServletRequest request, HttpServletResponse response) throws Exception {
        switch (path) {
            case "/set": { // with wait: twenty of them write when all have read
                String key = request.getParameter("key");
                HttpSession session = request.getSession();
                Map<String, Object> cart = cart(session);
                if (request.getParameter("wait") != null) {
                    GATE.await(1, TimeUnit.MINUTES);
                }
                session.setAttribute(key, 1);
                cart.put(key, 1);
                if (request.getParameter("save") != null) {
                    cart.put("null-" + key, null); // which no merge patch can say
                    CaddySessionFilter.save(request);
                }
                break;
            }
            case "/save": // and answers when somebody has seen it
                request.getSession().setAttribute("saved", 1);
                CaddySessionFilter.save(request);
                response.getWriter().print(SEEN.poll(1, TimeUnit.MINUTES));
                break;
            case "/seen":
                response.getWriter().print(SEEN.offer(true, 1, TimeUnit.MINUTES));
                break;
            case "/begin":
                request.getSession();
                CaddySessionFilter.save(request);
                if (request.getParameter("again") != null) {
                    request.getSession().invalidate();
                    request.getSession();
                }
                response.getWriter().print(request.getSession().getId());
                break;
            case "/end":
                request.getSession().setAttribute("early", 1);
                response.flushBuffer();
                request.getSession().invalidate();
                break;
            case "/data": {
                HttpSession session = request.getSession(false);
                if (session == null) {
                    response.getWriter().print("none");
                    break;
                }
                Map<String, Object> data = new TreeMap<>();
                for (String name : Collections.list(session.getAttributeNames())) {
                    data.put(name, session.getAttribute(name));
                }
                response.getWriter().print(session.getId() + " " + session.isNew() + " " + data);
                break;
            }
            case "/login":
                request.getSession().setAttribute("user", request.getParameter("name"));
                response.sendRedirect("data");
                break;
            case "/change":
                response.getWriter().print(request.changeSessionId());
                break;
            case "/interval":
                request.getSession().setMaxInactiveInterval(600);
                break;
            case "/who":
                response.getWriter().print(request.getRemoteUser() + " " + request.isUserInRole("admin"));
                break;
            case "/role":
                request.getSession().setAttribute("roles", Arrays.asList("admin", "reader"));
                break;
            case "/logout":
                request.getSession().invalidate();
                break;
            case "/again":
                request.getSession().invalidate();
                request.getSession().setAttribute("message", "Good-bye, Zo\u00eb!");
                response.getWriter().print(request.getSession().getId());
                break;
            case "/numbers":
                request.getSession().setAttribute("long", 5L);
                request.getSession().setAttribute("double", 5.0);
                request.getSession().setAttribute("longs", new ArrayList<>(Arrays.asList(1L, 2L)));
                break;
            case "/sum": {
                long sum = (Long) request.getSession().getAttribute("long") + ((Double) request.getSession().getAttribute("double")).longValue();
                @SuppressWarnings("unchecked")
                List<Long> longs = (List<Long>) request.getSession().getAttribute("longs");
                for (Long n : longs) {
                    sum += n;
                }
                response.getWriter().print(sum);
                break;
            }
            case "/big": // adds as much as it is told to, and says how much there was
                response.getWriter().print(String.valueOf(request.getSession().getAttribute("big")).length());
                request.getSession().setAttribute("big", new String(new char[Integer.parseInt(request.getParameter("size"))]).replace('\0', 'x'));
                break;
            case "/moved":
                response.sendRedirect("data");
                request.getSession().setAttribute("moved", 1);
                break;
            case "/upgrade":
                response.setStatus(101);
                response.setHeader("Connection", "Upgrade");
                response.setHeader("Upgrade", "websocket");
                request.upgrade(Upgraded.class).session = request.getSession();
                break;
            case "/date":
                request.getSession().setAttribute("when", new Date(0));
                break;
            case "/include":
                request.getSession().setAttribute("before", 1);
                request.getRequestDispatcher("/pages/large").include(request, response);
                response.getWriter().print("after");
                break;
            case "/forward":
                request.getSession().setAttribute("before", 1);
                request.getRequestDispatcher("/pages/large").forward(request, response);
                break;
            case "/large": {
                request.getSession().setAttribute("large", 1);
                PrintWriter out = response.getWriter();
                for (int i = 0; i < 2000; i++) {
                    out.println("a line \u20ac");
                }
                break;
            }
            case "/late": {
                HttpSession session = request.getSession();
                session.setAttribute("early", 1);
                response.getWriter().print("first ");
                response.flushBuffer();
                session.setAttribute("late", 1);
                cart(session).put("late", 1);
                response.getWriter().print("last");
                break;
            }
            case "/error":
                request.getSession().setAttribute("error", 1);
                response.sendError(Integer.parseInt(request.getParameter("status")), "of the application");
                break;
            case "/throw":
                request.getSession().setAttribute("thrown", 1);
                throw new IllegalArgumentException("of the application");
            case "/oops":
                request.getSession().setAttribute("oops", 1);
                response.getWriter().print("oops " + request.getSession().getAttribute("error"));
                break;
            case "/async": {
                cart(request.getSession());
                AsyncContext async = request.startAsync();
                async.start(() -> {
                    HttpSession session = ((HttpServletRequest) async.getRequest()).getSession();
                    session.setAttribute("async", 1);
                    cart(session).put("async", 1);
                    try {
                        async.getResponse().getWriter().print("done");
                    } catch (IOException e) {
                        throw new IllegalStateException(e);
                    }
                    async.complete();
                });
                break;
            }
            case "/dispatch":
                if (request.getSession().getAttribute("dispatch") != null) {
                    cart(request.getSession()).put("dispatched", 1);
                    response.getWriter().print("dispatched");
                    break;
                }
                cart(request.getSession());
                request.getSession().setAttribute("dispatch", 1);
                request.startAsync().dispatch();
                break;
            case "/timeout":
                request.getSession().setAttribute("timeout", 1);
                request.startAsync().setTimeout(1);
                break;
            default:
                response.sendError(404);
        }
    }

    /** A connection of which each byte is a step, which is answered when it is saved. */
    public static class Upgraded implements HttpUpgradeHandler {
        HttpSession session;

        @Override
        public void init(WebConnection connection) {
            try (WebConnection c = connection) {
                for (int step = c.getInputStream().read(); step >= 0; step = c.getInputStream().read()) {
                    session.setAttribute("step", String.valueOf((char) step));
                    c.getOutputStream().write(step);
                    c.getOutputStream().flush();
                }
            } catch (EOFException e) {
                // The other side has closed it.
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        public void destroy() {}
    }

    private static Map<String, Object> cart(HttpSession session) {
        @SuppressWarnings("unchecked")
        Map<String, Object> cart = (Map<String, Object>) session.getAttribute("cart");
        if (cart == null) {
            cart = new LinkedHashMap<>();
            session.setAttribute("cart", cart);
        }
        return cart;
    }
}
