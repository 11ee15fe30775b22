"""Land cover of any form."""
