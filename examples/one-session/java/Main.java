import caddysession.CaddySessionFilter;
import org.apache.catalina.Context;
import org.apache.catalina.startup.Tomcat;
import org.apache.tomcat.util.descriptor.web.FilterDef;
import org.apache.tomcat.util.descriptor.web.FilterMap;

/**
 * Runs Shop in Tomcat, behind the filter that brings Caddy's session. The arguments are a port and a
 * directory for Tomcat's files.
 */
public class Main {
    public static void main(String[] arguments) throws Exception {
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(arguments[1]);
        tomcat.setPort(Integer.parseInt(arguments[0]));
        tomcat.getConnector().setProperty("address", "127.0.0.1"); // nobody but Caddy may reach it
        Context context = tomcat.addContext("", null);
        Tomcat.addServlet(context, "shop", new Shop()).addMapping("/*");

        FilterDef filter = new FilterDef();
        filter.setFilterName("caddy-session");
        filter.setFilter(new CaddySessionFilter());
        context.addFilterDef(filter);
        FilterMap mapping = new FilterMap();
        mapping.setFilterName("caddy-session");
        mapping.addURLPattern("/*");
        context.addFilterMap(mapping);

        tomcat.start();
        tomcat.getServer().await();
    }
}
