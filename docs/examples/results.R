# Read results of traitlens, compare two groups, draw a figure.
#   Rscript results.R RESULTS figure.pdf
arguments <- commandArgs(trailingOnly = TRUE)
results <- arguments[1]

# How well each trait is predicted, beside what the raters' agreement allows.
performance <- read.csv(file.path(results, "performance.csv"))
print(performance[, c("trait", "group", "r", "ci_low", "ci_high", "ceiling_r")], digits = 2)

# How strongly each rater uses each region: a row for each rater, trait and region.
use <- read.csv(file.path(results, "cues", "utilisation.csv"))
groups <- unique(use$group)
one <- subset(use, trait == use$trait[1] & region == "mouth")
print(t.test(utilisation ~ group, data = one))  # raters as the sample; not corrected for other cells

# The corrected tests, over raters and faces.
tests <- read.csv(file.path(results, "cues", "tests.csv"))
found <- subset(tests, question == "use" & p_corrected <= .05)
print(found[, c("trait", "region", "value_1", "value_2", "low", "high", "p_corrected")], digits = 2)

# Means and 95% intervals over raters.
cell <- aggregate(utilisation ~ region + group, data = subset(use, trait == use$trait[1]),
                  FUN = function(x) c(mean = mean(x), se = sd(x) / sqrt(length(x))))
pdf(arguments[2], width = 5, height = 3.5)
regions <- unique(cell$region)
place <- match(cell$region, regions) + ifelse(cell$group == groups[1], -.1, .1)
mean <- cell$utilisation[, "mean"]
half <- 2 * cell$utilisation[, "se"]
plot(mean, place, xlim = range(mean - half, mean + half), yaxt = "n", ylab = "",
     xlab = "Rating points per SD of the cue", pch = ifelse(cell$group == groups[1], 16, 15))
segments(mean - half, place, mean + half, place)
axis(2, at = seq_along(regions), labels = regions, las = 1)
legend("topright", legend = groups, pch = c(16, 15), bty = "n")
invisible(dev.off())
