/* assent-coordinator: evaluates the lanes and publishes what follows from them; owns no database.
 */
#include <assent/coordinator.h>

int main(int argc, char **argv)
{
        return assent_coordinator_main(argc, argv);
}
