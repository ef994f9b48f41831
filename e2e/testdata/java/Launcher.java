import java.io.File;

import org.apache.catalina.Context;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.ContextConfig;
import org.apache.catalina.startup.Tomcat;
import org.apache.tomcat.util.scan.StandardJarScanner;

/**
 * Runs Tomcat with the application in a directory until the end of the input. It says on which port,
 * as the first line of the output.
 */
public class Launcher {
    public static void main(String[] arguments) throws Exception {
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(arguments[0]);
        Connector connector = new Connector();
        connector.setPort(0);
        connector.setProperty("address", "127.0.0.1");
        connector.setProperty("maxHttpHeaderSize", "81920");
        tomcat.setConnector(connector);
        Context context = tomcat.addContext("", new File(arguments[0]).getAbsolutePath());
        context.setParentClassLoader(Launcher.class.getClassLoader());
        ((StandardJarScanner) context.getJarScanner()).setScanClassPath(false);
        ContextConfig config = new ContextConfig();
        config.setDefaultWebXml(tomcat.noDefaultWebXmlPath());
        context.addLifecycleListener(config);
        tomcat.start();
        if (!context.getState().isAvailable()) {
            throw new IllegalStateException("the application does not start");
        }
        System.out.println("port " + connector.getLocalPort());
        while (System.in.read() >= 0) {
            // There is nothing to read.
        }
        tomcat.stop();
        System.exit(0); // its threads go on
    }
}
