/* plot.h: assent-load plot: saved results as one picture. */
#ifndef ASSENT_PRODUCERS_PLOT_H
#define ASSENT_PRODUCERS_PLOT_H

/* argv[0] is "plot". Returns the exit status. */
int plot_main(int argc, char **argv);

#endif
