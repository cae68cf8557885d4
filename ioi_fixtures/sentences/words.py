"""The words prompts are made of: sentence templates, first names, places and objects.

The templates are our own sentences. They keep the grammar of the published ones (Wang et al. 2022, App. E), because
GPT-2's figures depend on it: two names joined by "and" in a first clause that mentions a place or an object, the
subject again in a second clause, which ends in giving or saying something "to". None starts with a name, since a
first word has no leading space and is another token.

Placeholders: {A} and {B} are the two names of the first clause in order, {S} the subject of the second clause. A name,
place or object always follows a space. Every word of NAMES, PLACES and OBJECTS is one token of GPT-2's tokenizer when
written with its leading space; `tokens.check_words` verifies that for the tokenizer under test.
"""

TEMPLATES = (
    "While {A} and {B} were waiting at the {PLACE}, {S} handed a {OBJECT} to",
    "Yesterday {A} and {B} walked to the {PLACE}, and {S} passed a {OBJECT} to",
    "Once {A} and {B} had arrived at the {PLACE}, {S} offered the {OBJECT} to",
    "As soon as {A} and {B} left the {PLACE}, {S} sent a {OBJECT} to",
    "After {A} and {B} had found a {OBJECT} in the {PLACE}, {S} wanted to show it to",
    "Last week {A} and {B} bought a {OBJECT} near the {PLACE}, and later {S} chose to give it to",
    "Before {A} and {B} reached the {PLACE}, {S} threw a {OBJECT} to",
    "In the evening {A} and {B} sat and talked at the {PLACE}, and in the end {S} said goodbye to",
    "At noon {A} and {B} met inside the {PLACE}, and soon {S} brought a {OBJECT} to",
    "The {PLACE} was quiet when {A} and {B} came in, so {S} gave the {OBJECT} to",
    "Today my friends {A} and {B} shared a {OBJECT} outside the {PLACE}, and then {S} returned it to",
    "When {A} and {B} looked around the {PLACE} for a {OBJECT}, {S} whispered something to",
)

NAMES = tuple(
    """
    Aaron Adam Alan Albert Alice Amanda Amy Andrea Andrew Angela Anna Anthony Arthur Barbara Ben Brian Bruce Carl
    Carol Catherine Charles Christina Claire Daniel David Dennis Diana Donald Dorothy Edward Elizabeth Emily Emma Eric
    Ethan Fred Gary George Greg Hannah Harry Helen Henry Howard Jack Jacob James Jane Jason Jeff Jennifer Jeremy
    Jerry Jessica Jim Joe John Jonathan Joseph Joshua Julia Julie Justin Karen Kate Keith Kelly Kevin Larry Laura
    Lauren Linda Lisa Louis Lucy Margaret Maria Martha Martin Mary Matthew Michael Michelle Nancy Nathan Nicole Oliver
    Patricia Patrick Paul Peter Philip Rachel Rebecca Richard Robert Samuel Sarah Simon Thomas
    """.split()
)

# Other first names, never drawn: by them a third person in somebody else's prompt is known. Left out are those that are
# as often a place, a month or another word (Austin, April, Will).
OTHER_NAMES = frozenset(
    """
    Abigail Adrian Agnes Ahmed Aisha Alex Alexander Alexandra Alexis Ali Alicia Allison Alyssa Amelia Ana Andre
    Andres Andy Anita Ann Anne Annie Antonio Ashley Audrey Benjamin Bernard Beth Betty Beverly Bob Bobby Brandon
    Brenda Brendan Brett Bryan Caleb Cameron Carlos Carmen Caroline Cassandra Cecilia Chen Cheryl Chloe Chris
    Christine Christopher Cindy Clara Claudia Cody Colin Connor Corey Courtney Craig Cynthia Dan Danielle Darren
    Dave Deborah Debra Denise Derek Diane Diego Dmitri Don Donna Doris Douglas Dustin Dylan Eduardo Eileen Eleanor
    Elena Elijah Ella Ellen Elliot Emilia Emmanuel Erica Erik Erin Esther Eugene Eva Evan Evelyn Fatima Felicia
    Felix Fernando Fiona Frances Francis Francisco Gabriel Gabriela Gavin Gerald Giovanni Gloria Gregory Gwen Hans
    Harold Hassan Heather Hector Heidi Henrik Hugo Ian Igor Ingrid Irene Isaac Isabel Isabella Isaiah Ivan Jackie
    Jacqueline Jake Jamal Jamie Janet Janice Jared Javier Jay Jean Jeffrey Jenna Jenny Jesse Jill Jimmy Joan Joanna
    Joel Jon Jorge Jose Josh Joyce Juan Juanita Judith Judy Julian Karl Karla Katherine Kathleen Kathryn Kathy Katie
    Ken Kenneth Kim Kimberly Kristen Kristin Kristina Kurt Kyle Lars Latoya Lawrence Leah Lee Lena Leo Leon Leonard
    Leslie Liam Lindsay Lindsey Logan Lorraine Lucas Luis Luke Lydia Lynn Maggie Malcolm Manuel Marco Marcus Mariam
    Marie Marilyn Marissa Marjorie Mateo Matt Maureen Max Maya Megan Mei Melanie Melissa Mia Miguel Mike
    Milo Miranda Mohammed Molly Monica Morgan Muhammad Nadia Naomi Natalie Natasha Neil Nicholas Nick Nicolas Nina
    Noah Nora Olga Olivia Omar Oscar Pablo Pamela Patrice Paula Pedro Peggy Phillip Phoebe Pierre Priya Rafael Ralph
    Ramon Randy Raymond Rebekah Ricardo Roberto Rodney Roger Ronald Rosa Ruth Ryan Sally Sam Samantha Samir Sandra
    Sara Scott Sean Sebastian Sergio Seth Shane Shannon Sharon Shawn Sheila Shirley Sofia Sonia Sophia Sophie Stacey
    Stacy Stephanie Stephen Steve Steven Stuart Susan Suzanne Sven Tanya Tara Ted Teresa Terry Theodore Theresa
    Tiffany Tim Timothy Tina Todd Tom Tony Tracy Travis Trevor Tyler Ursula Valerie Vanessa Veronica Victor Vincent
    Vivian Vladimir Walter Wanda Wayne Wendy Wesley Wilhelm William Xavier Yolanda Yusuf Yvonne Zachary Zoe
    """.split()
)

PLACES = tuple(
    """
    airport apartment bakery bank bar barn beach bridge cabin cafe camp castle cathedral cemetery church cinema clinic
    college court farm forest gallery garage garden gym harbor hospital hotel house inn island kitchen lab lake library
    lobby mall market mill museum office palace park pharmacy pier plaza port pub restaurant river school shop stable
    station store studio temple tower village zoo
    """.split()
)

OBJECTS = tuple(
    """
    bag ball banana basket belt bike blanket book bottle bowl box bracelet brush bucket cake camera candle cap card
    chair chocolate clock coat coffee comb cookie cup diamond doll drink flag flower fork gift guitar hammer hat
    jacket lamp letter map medal mirror mug necklace newspaper pencil phone photo pillow plate poster puzzle ring
    scarf shirt spoon ticket toy towel wallet watch
    """.split()
)
